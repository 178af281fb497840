# Where things are installed, and the CMake package that lets others find_package(telamon).
#
# In a wheel the prefix is the Python package, so the library lies in telamon/lib, the headers in telamon/include. The
# package file sits beside the library and finds both relative to itself, so either tree may be moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(SKBUILD)
  set(TELAMON_INSTALL_LIBDIR lib)
  set(TELAMON_INSTALL_INCLUDEDIR include)
else()
  set(TELAMON_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
  set(TELAMON_INSTALL_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
endif()
set(TELAMON_INSTALL_CMAKEDIR "${TELAMON_INSTALL_LIBDIR}/cmake/telamon")

# Libraries find each other where they lie.
if(APPLE)
  set(TELAMON_ORIGIN "@loader_path")
else()
  set(TELAMON_ORIGIN "$ORIGIN")
endif()
set(CMAKE_INSTALL_RPATH "${TELAMON_ORIGIN}")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

configure_file(cmake/version.hpp.in version.hpp @ONLY)
install(DIRECTORY csrc/include/telamon DESTINATION "${TELAMON_INSTALL_INCLUDEDIR}")
install(FILES "${PROJECT_BINARY_DIR}/version.hpp" DESTINATION "${TELAMON_INSTALL_INCLUDEDIR}/telamon/core")

configure_package_config_file(cmake/telamonConfig.cmake.in telamonConfig.cmake
                              INSTALL_DESTINATION "${TELAMON_INSTALL_CMAKEDIR}")
# Before 1.0 a minor version may break what it likes.
write_basic_package_version_file(telamonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/telamonConfig.cmake" "${PROJECT_BINARY_DIR}/telamonConfigVersion.cmake"
        DESTINATION "${TELAMON_INSTALL_CMAKEDIR}")
install(EXPORT telamonTargets NAMESPACE telamon:: DESTINATION "${TELAMON_INSTALL_CMAKEDIR}")
