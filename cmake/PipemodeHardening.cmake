# SPDX-License-Identifier: Apache-2.0
#
# What makes an error in our code a clean death rather than somebody's foothold. Not in sanitizer
# builds, which see more, and would see less of it with _FORTIFY_SOURCE.

include(CheckCXXCompilerFlag)

add_library(pipemode_hardening INTERFACE)
if(NOT PIPEMODE_SANITIZE)
  target_compile_options(pipemode_hardening INTERFACE -fstack-protector-strong)
  check_cxx_compiler_flag(-fstack-clash-protection PIPEMODE_HAS_STACK_CLASH_PROTECTION)
  if(PIPEMODE_HAS_STACK_CLASH_PROTECTION)
    target_compile_options(pipemode_hardening INTERFACE -fstack-clash-protection)
  endif()
  # Needs optimisation. Some distributions define it by themselves: only one definition is allowed.
  # Not 3, which older compilers and libraries do not know.
  target_compile_options(
    pipemode_hardening
    INTERFACE "$<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  # The tables through which libraries are called are filled at once, then read-only.
  target_link_options(pipemode_hardening INTERFACE LINKER:-z,relro LINKER:-z,now
                      LINKER:-z,noexecstack)
endif()
