# -DCARAVAN_SANITIZE=address,undefined builds everything under those sanitizers (preset asan).
set(CARAVAN_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=; empty for none")

add_library(caravan_sanitizers INTERFACE)
if(CARAVAN_SANITIZE)
  target_compile_options(
    caravan_sanitizers
    INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${CARAVAN_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer;-g1>)
  target_link_options(caravan_sanitizers INTERFACE -fsanitize=${CARAVAN_SANITIZE})
endif()
