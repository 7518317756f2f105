# SPDX-License-Identifier: Apache-2.0

add_library(pipemode_sanitizers INTERFACE)
if(PIPEMODE_SANITIZE)
  # A finding must fail the test, not scroll by: hence no recovery.
  set(flags -fsanitize=${PIPEMODE_SANITIZE} -fno-sanitize-recover=all)
  target_compile_options(pipemode_sanitizers INTERFACE ${flags} -fno-omit-frame-pointer)
  target_link_options(pipemode_sanitizers INTERFACE ${flags})
  unset(flags)
endif()
