# SPDX-License-Identifier: Apache-2.0
#
# Writes what the package has to know of its build, for mkldnn.py, for `pipemode doctor` and for the
# manifests of op libraries. Comes after cpp/core, which finds ISA-L.

get_directory_property(ISAL_VERSION DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/core" DEFINITION ISAL_VERSION)
if(SAGEMAKER_TENSORFLOW_MKLDNN)
  set(SAGEMAKER_TENSORFLOW_MKLDNN_JSON true)
else()
  set(SAGEMAKER_TENSORFLOW_MKLDNN_JSON false)
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/build_info.json.in"
               "${PROJECT_BINARY_DIR}/_build_info.json" @ONLY)
install(
  FILES "${PROJECT_BINARY_DIR}/_build_info.json"
  DESTINATION sagemaker_tensorflow
  COMPONENT python)
