// The whole compiled array API.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/error.hpp>
#include <telamon/core/isa.hpp>
#include <telamon/core/span.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/kron.hpp>
#include <telamon/quant.hpp>
#include <telamon/so3.hpp>
#include <telamon/special.hpp>
