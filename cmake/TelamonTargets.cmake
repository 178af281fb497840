# Compile flags, and the function that makes our libraries.
find_package(Threads REQUIRED)

# Without the last two no loop with a square root or a comparison is vectorised. Nothing here changes a result:
# -ffast-math would, and -march=native would build wheels that die elsewhere.
# Contraction is off so that a loop's vectorised part and its remainder round alike; kernels ask for fma by name.
set(TELAMON_COMPILE_OPTIONS -O3 -fopenmp-simd -fno-math-errno -fno-trapping-math -ffp-contract=off
                            -fno-semantic-interposition)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(REMOVE_ITEM TELAMON_COMPILE_OPTIONS -fno-semantic-interposition) # its default; some versions warn of it
endif()
# Inlining everything into every loop, as the kernels ask for, pays only where the result is then optimised.
if(CMAKE_BUILD_TYPE STREQUAL "Debug" OR TELAMON_SANITIZE)
  list(REMOVE_ITEM TELAMON_COMPILE_OPTIONS -O3)
  list(APPEND TELAMON_COMPILE_OPTIONS -DTELAMON_NO_FORCED_INLINE)
endif()

# Everything that is compiled here: libraries, bindings, tests, benchmarks.
add_library(telamon_build INTERFACE)
target_compile_features(telamon_build INTERFACE cxx_std_17)
# Not by a generated header: without a path of the build folder in any source, ccache serves every build folder.
target_compile_definitions(telamon_build INTERFACE "TELAMON_VERSION=\"${PROJECT_VERSION}\"")
target_compile_options(telamon_build INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic>")
target_compile_options(telamon_build INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${TELAMON_COMPILE_OPTIONS}>")
if(TELAMON_SANITIZE)
  # -O1: optimising the unrolled kernels with their checks takes minutes and gigabytes
  set(sanitizer_options -fsanitize=${TELAMON_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
  target_compile_options(telamon_build INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${sanitizer_options}>")
  target_link_options(telamon_build INTERFACE ${sanitizer_options})
endif()

# The templates alone, for whoever wants to compile them into their own loops.
add_library(telamon_headers INTERFACE)
add_library(telamon::headers ALIAS telamon_headers)
set_target_properties(telamon_headers PROPERTIES EXPORT_NAME headers)
target_compile_features(telamon_headers INTERFACE cxx_std_17)
target_include_directories(
  telamon_headers INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/csrc/include>"
                            "$<INSTALL_INTERFACE:${TELAMON_INSTALL_INCLUDEDIR}>")
install(TARGETS telamon_headers EXPORT telamonTargets)

# telamon_core_sources(OUT FOLDER SUFFIX): each core's <core>.<suffix>, which must exist, and its parts <core>_*.<suffix>.
function(telamon_core_sources out folder suffix)
  set(sources)
  foreach(core IN LISTS TELAMON_CORES)
    if(NOT EXISTS "${PROJECT_SOURCE_DIR}/${folder}/${core}.${suffix}")
      message(FATAL_ERROR "telamon: ${folder}/${core}.${suffix} is missing, and \"${core}\" is one of TELAMON_CORES")
    endif()
    file(GLOB parts CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/${core}_*.${suffix}")
    list(APPEND sources ${folder}/${core}.${suffix} ${parts})
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()

# telamon_add_library(NAME SOURCES...): a shared library that exports only what is marked, installs beside its headers
# and is found by others as telamon::NAME.
function(telamon_add_library name)
  add_library(${name} SHARED ${ARGN})
  add_library(telamon::${name} ALIAS ${name})
  target_link_libraries(
    ${name}
    PUBLIC telamon_headers
    PRIVATE "$<BUILD_INTERFACE:telamon_build>" Threads::Threads)
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                           CXX_EXTENSIONS OFF)
  if(NOT SKBUILD) # a wheel cannot hold the symbolic links that a soname wants
    set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION
                                             ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  endif()
  install(TARGETS ${name} EXPORT telamonTargets LIBRARY DESTINATION "${TELAMON_INSTALL_LIBDIR}")
endfunction()
