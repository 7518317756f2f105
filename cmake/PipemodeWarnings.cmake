# SPDX-License-Identifier: Apache-2.0

add_library(pipemode_warnings INTERFACE)
target_compile_options(
  pipemode_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow
                              $<$<BOOL:${PIPEMODE_WERROR}>:-Werror>)
