# SPDX-License-Identifier: Apache-2.0
#
# Defines the imported target TensorFlow::framework from TENSORFLOW_ROOT, a folder that holds
# include/ and libtensorflow_framework.so.2: an installed package or an unpacked wheel.

if(NOT TENSORFLOW_MINOR MATCHES "^[0-9]+\\.[0-9]+$")
  message(FATAL_ERROR "TENSORFLOW_ROOT needs TENSORFLOW_MINOR, e.g. 2.21; it is '${TENSORFLOW_MINOR}'")
endif()
set(tensorflow_library "${TENSORFLOW_ROOT}/libtensorflow_framework.so.2")
if(NOT EXISTS "${tensorflow_library}" OR NOT IS_DIRECTORY "${TENSORFLOW_ROOT}/include/tensorflow")
  message(FATAL_ERROR "TENSORFLOW_ROOT=${TENSORFLOW_ROOT} holds no include/tensorflow or no "
                      "libtensorflow_framework.so.2")
endif()

# Imported, so its headers are system headers and our warnings stay quiet about them.
add_library(TensorFlow::framework SHARED IMPORTED)
set_target_properties(
  TensorFlow::framework
  PROPERTIES IMPORTED_LOCATION "${tensorflow_library}"
             INTERFACE_INCLUDE_DIRECTORIES "${TENSORFLOW_ROOT}/include")
# The flags of all wheels from 2.14 on. NDEBUG in every build type: a debug build disagrees with
# the wheel about the layout of RefCounted.
target_compile_definitions(TensorFlow::framework INTERFACE _GLIBCXX_USE_CXX11_ABI=1
                                                           EIGEN_MAX_ALIGN_BYTES=64 NDEBUG)
target_compile_options(TensorFlow::framework
                       INTERFACE "-fmacro-prefix-map=${TENSORFLOW_ROOT}/include/=")
unset(tensorflow_library)
