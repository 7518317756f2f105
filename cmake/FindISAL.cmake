# SPDX-License-Identifier: Apache-2.0
#
# Finds Intel's ISA-L (Debian: libisal-dev) and defines the imported target ISAL::isal.

find_path(ISAL_INCLUDE_DIR NAMES isa-l/igzip_lib.h)
find_library(ISAL_LIBRARY NAMES isal)
mark_as_advanced(ISAL_INCLUDE_DIR ISAL_LIBRARY)

if(ISAL_INCLUDE_DIR AND EXISTS "${ISAL_INCLUDE_DIR}/isa-l.h")
  file(STRINGS "${ISAL_INCLUDE_DIR}/isa-l.h" isal_version_lines REGEX "ISAL_[A-Z]+_VERSION [0-9]+")
  list(TRANSFORM isal_version_lines REPLACE ".* ([0-9]+)$" "\\1")
  list(JOIN isal_version_lines "." ISAL_VERSION)
  unset(isal_version_lines)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  ISAL
  REQUIRED_VARS ISAL_LIBRARY ISAL_INCLUDE_DIR
  VERSION_VAR ISAL_VERSION
  REASON_FAILURE_MESSAGE "install it with: apt-get install libisal-dev")

if(ISAL_FOUND AND NOT TARGET ISAL::isal)
  add_library(ISAL::isal UNKNOWN IMPORTED)
  set_target_properties(
    ISAL::isal PROPERTIES IMPORTED_LOCATION "${ISAL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                              "${ISAL_INCLUDE_DIR}")
endif()
