# Whether CUDA is built, and for which architectures. Needs no GPU and no driver, only nvcc.
set(CARAVAN_CUDA AUTO CACHE STRING "AUTO: when nvcc works; ON: required; OFF: never")
set_property(CACHE CARAVAN_CUDA PROPERTY STRINGS AUTO ON OFF)

set(CARAVAN_HAS_CUDA FALSE)
if(NOT CARAVAN_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CARAVAN_HAS_CUDA TRUE)
  elseif(CARAVAN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CARAVAN_CUDA=ON, but no working nvcc was found")
  endif()
endif()

if(CARAVAN_HAS_CUDA)
  # Machine code for A100, H100/H200 and RTX 50; the PTX serves all others from compute capability 8.0.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 120-real 80-virtual)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION}, for ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA: left out (no nvcc, or CARAVAN_CUDA=OFF)")
endif()
