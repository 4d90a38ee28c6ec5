# One source, two instruction sets. caravan_isa_objects(OUT source...) compiles each source for x86-64-v3
# (AVX2, FMA) and again for x86-64-v4 (AVX-512) with CARAVAN_ISA set to v3 or v4, and puts one object
# file for each set into OUT. All else in the library is plain x86-64, so that an older processor gets
# a message and not an illegal instruction.
#
# The sets are linked apart first, each with its own copies of the inline functions that it uses: the
# linker keeps one copy of an inline function of a header, and were that the v4 one, plain code would
# run AVX-512. A name stays visible outside its set only when it holds v3 or v4, as everything in
# namespace CARAVAN_ISA does.
set(CARAVAN_ISA_v3 -march=x86-64-v3)
set(CARAVAN_ISA_v4 -march=x86-64-v4 -mprefer-vector-width=512)

set(CARAVAN_ISA_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/IsaObject.cmake)

function(caravan_isa_objects OUT)
  set(objects "")
  foreach(isa IN ITEMS v3 v4)
    add_library(caravan_cpu_${isa} OBJECT ${ARGN})
    target_link_libraries(caravan_cpu_${isa} PRIVATE caravan_options)
    target_compile_options(caravan_cpu_${isa} PRIVATE ${CARAVAN_ISA_${isa}})
    target_compile_definitions(caravan_cpu_${isa} PRIVATE CARAVAN_ISA=${isa})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/cpu_${isa}.o)
    add_custom_command(
      OUTPUT ${object}
      COMMAND
        ${CMAKE_COMMAND} -DCXX=${CMAKE_CXX_COMPILER} -DOBJCOPY=${CMAKE_OBJCOPY}
        -DOBJDUMP=${CMAKE_OBJDUMP} -DISA=${isa} -DOUT=${object}
        "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:caravan_cpu_${isa}>,|>" -P ${CARAVAN_ISA_SCRIPT}
      DEPENDS $<TARGET_OBJECTS:caravan_cpu_${isa}> ${CARAVAN_ISA_SCRIPT}
      COMMENT "Linking the ${isa} kernels"
      VERBATIM COMMAND_EXPAND_LISTS)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    list(APPEND objects ${object})
  endforeach()
  set(${OUT} ${objects} PARENT_SCOPE)
endfunction()
