# What the compiler made of the kernels, held against a committed table without a GPU.
#
# caravan_keep_reports(TARGET) keeps ptxas' account of every kernel beside its object file.
# caravan_check_kernels(TARGET TABLE) adds the test that reads them (label cuda), and the target refresh_registers,
# which writes the table anew. A matrix kernel for sm_90a has sm90 in its name and lies in a file *_sm90.cu: such
# files are also compiled to PTX, where the test looks for warpgroup instructions; in the machine code too where
# cuobjdump is found.
set(CARAVAN_KEEP_REPORT ${CMAKE_CURRENT_LIST_DIR}/keep_report.sh)

function(caravan_keep_reports TARGET)
  target_compile_options(${TARGET} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v>)
  set(launcher sh ${CARAVAN_KEEP_REPORT} ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${TARGET} PROPERTIES CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()

function(caravan_check_kernels TARGET TABLE)
  set(ptx "")
  get_target_property(sources ${TARGET} SOURCES)
  list(FILTER sources INCLUDE REGEX "_sm90\\.cu$")
  if(sources)
    list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/ REGEX "^[^/]")
    add_library(${TARGET}_ptx OBJECT ${sources})
    set_target_properties(${TARGET}_ptx PROPERTIES CUDA_PTX_COMPILATION ON CUDA_ARCHITECTURES 90a-virtual)
    target_link_libraries(${TARGET}_ptx PRIVATE caravan_options)
    set(ptx $<TARGET_OBJECTS:${TARGET}_ptx>)
  endif()
  find_program(CARAVAN_CUOBJDUMP cuobjdump)
  set(machine_code "")
  if(CARAVAN_CUOBJDUMP)
    set(machine_code --cuobjdump ${CARAVAN_CUOBJDUMP} --library $<TARGET_FILE:${TARGET}>)
  endif()
  add_executable(compiled_kernels_test compiled_kernels_test.cpp)
  target_link_libraries(compiled_kernels_test PRIVATE caravan_options caravan_static)
  target_include_directories(compiled_kernels_test PRIVATE ${PROJECT_SOURCE_DIR})
  add_dependencies(compiled_kernels_test ${TARGET})
  add_test(NAME compiled_kernels_faults COMMAND compiled_kernels_test)
  set(reports "$<JOIN:$<TARGET_OBJECTS:${TARGET}>,.report$<SEMICOLON>>.report")
  add_test(
    NAME compiled_kernels
    COMMAND compiled_kernels_test --compiler ${CMAKE_CUDA_COMPILER_VERSION} --table ${TABLE} ${machine_code} ${reports} ${ptx}
    COMMAND_EXPAND_LISTS)
  set_tests_properties(compiled_kernels compiled_kernels_faults PROPERTIES LABELS cuda)
  add_custom_target(
    refresh_registers
    COMMAND compiled_kernels_test --compiler ${CMAKE_CUDA_COMPILER_VERSION} --table ${TABLE} --refresh ${reports}
    DEPENDS compiled_kernels_test ${TARGET}
    COMMAND_EXPAND_LISTS VERBATIM)
endfunction()
