# Run by Isa.cmake at build time: links OBJECTS (with | between them) into OUT and hides all names in it
# but those of its set.
string(REPLACE "|" ";" OBJECTS "${OBJECTS}")
execute_process(
  COMMAND ${CXX} -r -nostdlib -Wl,--force-group-allocation -o ${OUT} ${OBJECTS}
  COMMAND_ERROR_IS_FATAL ANY)

# A writable variable defined in a header (an inline variable, a static in an inline function) would now
# exist once per set instead of once. Read-only ones may.
execute_process(
  COMMAND ${OBJDUMP} --syms --demangle ${OUT}
  OUTPUT_VARIABLE symbols
  COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9a-f]+ +[uw] +O +\\.(data|bss)[^\n]*" shared "${symbols}")
# Not those that the compiler makes itself: constants with addresses in them, DW.ref of exceptions.
list(FILTER shared EXCLUDE REGEX "\\.data\\.rel\\.ro|DW\\.ref\\.")
if(shared)
  list(JOIN shared "\n  " shared)
  file(REMOVE ${OUT})
  message(FATAL_ERROR "variables of headers that the ${ISA} kernels would have for themselves:\n  ${shared}")
endif()

execute_process(
  COMMAND ${OBJCOPY} --wildcard --keep-global-symbol=*${ISA}* ${OUT}
  COMMAND_ERROR_IS_FATAL ANY)
