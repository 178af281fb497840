# libtelamon_cuda: the kernels for NVIDIA GPUs behind a C interface, loaded by Python when first wanted.
#
# Its CUDA runtime is linked statically, so it loads on machines with no GPU and no CUDA, and there says so. Off by
# default: installing telamon must neither need nvcc nor wait for it.
string(TOUPPER "${TELAMON_CUDA}" wanted)
if(wanted STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  set(wanted ${CMAKE_CUDA_COMPILER})
endif()
if(NOT wanted)
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  set(CMAKE_CUDA_ARCHITECTURES 90)
endif()
enable_language(CUDA)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

telamon_core_sources(sources csrc/cuda cu)
telamon_add_library(telamon_cuda ${sources})
target_compile_options(telamon_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>")
set_target_properties(telamon_cuda PROPERTIES CUDA_STANDARD 17 CUDA_VISIBILITY_PRESET hidden)
