// The pool: every element once, whatever the count of threads, through exceptions, nesting, rivals and forks.
#include <doctest/doctest.h>
#include <telamon/core/threads.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

// How often each index was visited, by parallel_for with this grain.
std::vector<int> visits(std::size_t n, std::size_t grain) {
  std::vector<int> count(n, 0);
  telamon::parallel_for(n, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) ++count[i];  // ranges are disjoint, so this is no race
  });
  return count;
}

struct restore_threads {
  int before = telamon::get_num_threads();
  ~restore_threads() { telamon::set_num_threads(before); }
};

}  // namespace

TEST_CASE("each index is visited exactly once") {
  const restore_threads restore;
  for (int threads : {1, 2, 3, 8}) {
    telamon::set_num_threads(threads);
    CHECK(telamon::get_num_threads() == threads);
    for (std::size_t n : {0, 1, 7, 1000, 12345}) {
      for (std::size_t grain : {0, 1, 10, 1000, 100000}) CHECK(visits(n, grain) == std::vector<int>(n, 1));
    }
  }
}

TEST_CASE("ranges are whole grains, except the last") {
  const restore_threads restore;
  telamon::set_num_threads(3);
  constexpr std::size_t n = 10007, grain = 16;
  telamon::parallel_for(n, grain, [](std::size_t begin, std::size_t end) {
    CHECK(begin % grain == 0);
    CHECK((end % grain == 0 || end == n));
  });
}

TEST_CASE("several threads take part") {
  const restore_threads restore;
  telamon::set_num_threads(2);
  std::atomic<int> arrived{0};
  // Each of two ranges waits for the other: with one thread this would never end.
  telamon::parallel_for(2, 1, [&](std::size_t, std::size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  CHECK(arrived == 2);
}

TEST_CASE("the first exception reaches the caller, and the pool survives") {
  const restore_threads restore;
  telamon::set_num_threads(4);
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_WITH_AS(telamon::parallel_for(1000, 1,
                                               [](std::size_t begin, std::size_t end) {
                                                 if (begin <= 500 && 500 < end) throw std::runtime_error("at 500");
                                               }),
                         "at 500", std::runtime_error);
    CHECK(visits(1000, 1) == std::vector<int>(1000, 1));
  }
}

TEST_CASE("nested calls run on the thread that makes them") {
  const restore_threads restore;
  telamon::set_num_threads(4);
  std::atomic<int> sum{0};
  telamon::parallel_for(16, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::thread::id self = std::this_thread::get_id();
      telamon::parallel_for(100, 1, [&](std::size_t b, std::size_t e) {
        const bool here = std::this_thread::get_id() == self;
        CHECK(here);
        sum += static_cast<int>(e - b);
      });
    }
  });
  CHECK(sum == 1600);
}

TEST_CASE("callers on several threads do not disturb each other") {
  const restore_threads restore;
  telamon::set_num_threads(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        if (visits(500, 8) != std::vector<int>(500, 1)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("a count below one is refused") {
  CHECK_THROWS_AS(telamon::set_num_threads(0), std::invalid_argument);
  CHECK_THROWS_AS(telamon::set_num_threads(-3), std::invalid_argument);
}

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__)
// TSan cannot start threads after a fork; the rest of the world can.
TEST_CASE("a forked child gets a pool of its own") {
  const restore_threads restore;
  telamon::set_num_threads(2);
  visits(1000, 1);  // the parent's pool is running
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang must fail, not wait
    _exit(visits(1000, 1) == std::vector<int>(1000, 1) ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(visits(1000, 1) == std::vector<int>(1000, 1));
}
#endif
