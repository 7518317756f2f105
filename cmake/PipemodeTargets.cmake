# SPDX-License-Identifier: Apache-2.0
#
# What every target of this project has in common. Flags travel through interface targets and
# target properties only, so nothing leaks into a project that embeds this one.

include(PipemodeWarnings)
include(PipemodeSanitizers)
include(PipemodeHardening)

# An unoptimised build by accident would be an order of magnitude slower than what users get.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

add_library(pipemode_options INTERFACE)
target_compile_features(pipemode_options INTERFACE cxx_std_17)
# TensorFlow's wheels use the C++11 ABI; the core is linked into the op, so it has to agree.
target_compile_definitions(pipemode_options INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
# TensorFlow's log shows __FILE__: not where somebody built the wheel.
target_compile_options(pipemode_options INTERFACE "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=")
# dlsym is in a library of its own before glibc 2.34.
target_link_libraries(pipemode_options INTERFACE pipemode_warnings pipemode_sanitizers
                                                 pipemode_hardening ${CMAKE_DL_LIBS})

# pipemode_configure_target(<target>)
# Applies the common options to a library, module or program of this project.
function(pipemode_configure_target target)
  set_target_properties(
    ${target}
    PROPERTIES CXX_EXTENSIONS OFF
               CXX_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/cpp")
  target_link_libraries(${target} PRIVATE pipemode_options)
endfunction()

# pipemode_add_library(<name> SOURCES <file>... [DEPENDS <target>...] [PRIVATE_DEPENDS <target>...])
# One static library per layer. DEPENDS names the layers below; nothing else becomes linkable.
function(pipemode_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  pipemode_configure_target(${name})
  target_link_libraries(
    ${name}
    PUBLIC ${ARG_DEPENDS}
    PRIVATE ${ARG_PRIVATE_DEPENDS})
endfunction()

# pipemode_export_only(<target> <version script>)
# Hides every symbol that the script does not name, including those of static libraries.
function(pipemode_export_only target script)
  target_link_options(${target} PRIVATE "LINKER:--version-script=${script}")
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${script}")
endfunction()
