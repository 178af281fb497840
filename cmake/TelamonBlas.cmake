# BLAS and LAPACK, as the target telamon_blas: interface for 32-bit integers, called by Fortran's names.
#
# Sets telamon_blas_description, and telamon_blas_by_path: whether its folder belongs into our library's search path.
#
# BUNDLED takes the OpenBLAS of PyPI's scipy-openblas32, whose names all begin with scipy_, so that it does not mix with
# another one in the process; the library is installed beside ours. SYSTEM takes what CMake's FindLAPACK finds
# (BLA_VENDOR chooses), for distributions. AUTO: the former where it is installed, else the latter.
set(TELAMON_BLAS AUTO CACHE STRING "BLAS and LAPACK: BUNDLED (scipy-openblas32), SYSTEM, or AUTO")
set_property(CACHE TELAMON_BLAS PROPERTY STRINGS AUTO BUNDLED SYSTEM)

add_library(telamon_blas INTERFACE)
set(bundled)
if(NOT TELAMON_BLAS STREQUAL "SYSTEM")
  find_package(Python 3.10 COMPONENTS Interpreter QUIET)
  if(Python_EXECUTABLE)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c "import scipy_openblas32 as s; print(s.get_lib_dir() + '/cmake/openblas')"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(folder)
      find_package(OpenBLAS CONFIG QUIET NO_DEFAULT_PATH PATHS "${folder}")
      set(bundled ${OpenBLAS_FOUND})
    endif()
  endif()
endif()

if(bundled)
  target_link_libraries(telamon_blas INTERFACE OpenBLAS::OpenBLAS)
  set(telamon_blas_description "scipy-openblas32 ${OpenBLAS_VERSION}")
  set(definitions TELAMON_BLAS_PREFIX=scipy_ TELAMON_BLAS_IS_OPENBLAS)
  set(telamon_blas_by_path OFF) # it will lie beside our library, not where it was linked
  install(FILES ${OpenBLAS_LIBRARIES} DESTINATION "${TELAMON_INSTALL_LIBDIR}" PERMISSIONS OWNER_READ OWNER_WRITE
                                                   OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
elseif(TELAMON_BLAS STREQUAL "BUNDLED")
  message(FATAL_ERROR "telamon: TELAMON_BLAS is BUNDLED, and ${Python_EXECUTABLE} has no scipy_openblas32; "
                      "pip install scipy-openblas32, or pass -DTELAMON_BLAS=SYSTEM")
else()
  find_package(LAPACK QUIET)
  if(NOT LAPACK_FOUND)
    message(FATAL_ERROR "telamon: no BLAS and LAPACK; pip install scipy-openblas32 (for the Python that CMake finds: "
                        "${Python_EXECUTABLE}), or install your system's (apt install libopenblas-dev)")
  endif()
  target_link_libraries(telamon_blas INTERFACE LAPACK::LAPACK)
  list(GET BLAS_LIBRARIES 0 telamon_blas_description)
  set(definitions TELAMON_BLAS_PREFIX=)
  set(telamon_blas_by_path ON)
endif()
message(STATUS "telamon: BLAS is ${telamon_blas_description}")
set_source_files_properties(csrc/src/blas.cpp PROPERTIES COMPILE_DEFINITIONS "${definitions}")
