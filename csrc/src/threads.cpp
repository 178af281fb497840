#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace telamon {
namespace {

// ---- how many threads

// A positive integer, or 0 for anything else. OMP_NUM_THREADS may list a number per nesting level; the first counts.
int leading_count(const char* text, bool allow_list) {
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  const bool complete = *end == '\0' || (allow_list && *end == ',');
  return end != text && complete && value > 0 && value <= 1 << 20 ? static_cast<int>(value) : 0;
}

// Not hardware_concurrency(): in some C libraries it ignores the affinity mask, which is how containers and batch
// systems hand out processors.
int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

int default_threads() {
  if (const char* text = std::getenv("TELAMON_NUM_THREADS"); text && *text) {
    const int count = leading_count(text, false);
    require(count > 0, "TELAMON_NUM_THREADS is \"", text, "\"; it must be a positive integer");
    return count;
  }
  const int openmp = leading_count(std::getenv("OMP_NUM_THREADS"), true);
  return openmp > 0 ? openmp : processors();
}

std::atomic<int> thread_count{0};  // 0: not asked for yet

// ---- the pool

struct job {
  detail::range_function function;
  void* context;
  std::size_t n, step;
  std::atomic<std::size_t> next{0};
  int open;         // helpers that may still join; guarded by pool::mutex, as is the rest
  int running = 0;  // helpers at work
  std::exception_ptr error;
};

thread_local bool inside = false;  // this thread is running some job's function

struct pool {
  std::mutex submission;  // held by the one caller whose job is current
  std::mutex mutex;
  std::condition_variable wake, idle;
  job* current = nullptr;
  int workers = 0;

  // Chunks are handed out one by one, so that a thread with cheap elements takes more of them.
  void work(job& j) {
    inside = true;
    try {
      for (std::size_t begin; (begin = j.next.fetch_add(j.step, std::memory_order_relaxed)) < j.n;) {
        j.function(j.context, begin, std::min(j.n, begin + j.step));
      }
    } catch (...) {
      j.next.store(j.n, std::memory_order_relaxed);
      const std::lock_guard lock(mutex);
      if (!j.error) j.error = std::current_exception();
    }
    inside = false;
  }

  void worker() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return current && current->open > 0; });
      job& j = *current;
      --j.open;
      ++j.running;
      lock.unlock();
      work(j);
      lock.lock();
      if (--j.running == 0) idle.notify_one();
    }
  }

  void run(job& j) {
    const int helpers = j.open;  // not to be read again unlocked: helpers count it down as they join
    {
      const std::lock_guard lock(mutex);
      try {
        for (; workers < helpers; ++workers) std::thread(&pool::worker, this).detach();
      } catch (const std::system_error&) {
        // No more threads to be had; those that there are do the work.
      }
      current = &j;
    }
    for (int i = 0; i < helpers; ++i) wake.notify_one();
    work(j);
    std::unique_lock lock(mutex);
    current = nullptr;  // whoever wakes from now on finds nothing; j lives until those who joined have left
    idle.wait(lock, [&] { return j.running == 0; });
  }
};

// Never destroyed: its threads may outlive main. After a fork the child has none of them, and the mutexes may be in any
// state; it forgets the pool and makes a new one when it first wants one.
std::atomic<pool*> instance{nullptr};

pool& the_pool() {
  pool* p = instance.load(std::memory_order_acquire);
  if (p == nullptr) {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
      instance.store(nullptr, std::memory_order_relaxed);
      inside = false;
    });
    static_cast<void>(registered);
#endif
    pool* fresh = new pool;
    if (instance.compare_exchange_strong(p, fresh)) return *fresh;
    delete fresh;
  }
  return *p;
}

}  // namespace

void set_num_threads(int n) {
  require(n >= 1, "set_num_threads: n is ", n, "; it must be at least 1");
  thread_count.store(n, std::memory_order_relaxed);
}

int get_num_threads() {
  int n = thread_count.load(std::memory_order_relaxed);
  if (n == 0) thread_count.store(n = default_threads(), std::memory_order_relaxed);
  return n;
}

void detail::parallel_run(std::size_t n, std::size_t grain, range_function f, void* context) {
  const std::size_t threads = static_cast<std::size_t>(get_num_threads());
  const std::size_t grains = grain == 0 ? n : (n + grain - 1) / grain;
  const std::size_t helpers = std::min(threads, grains) - 1;
  if (helpers == 0 || inside) return f(context, 0, n);

  pool& p = the_pool();
  const std::unique_lock submission(p.submission, std::try_to_lock);
  if (!submission) return f(context, 0, n);

  // About eight chunks a thread even out uneven work; whole grains keep vector loops free of ragged ends.
  const std::size_t step = std::max<std::size_t>(grain, 1) * std::max<std::size_t>(1, grains / (8 * threads));
  job j{f, context, n, step, {}, static_cast<int>(helpers), 0, {}};
  p.run(j);
  if (j.error) std::rethrow_exception(j.error);
}

}  // namespace telamon

// What threadpoolctl calls through ctypes.
extern "C" {
TELAMON_API int telamon_get_num_threads() { return telamon::get_num_threads(); }
TELAMON_API void telamon_set_num_threads(int n) { telamon::set_num_threads(n < 1 ? 1 : n); }
TELAMON_API const char* telamon_get_version() { return TELAMON_VERSION; }
}
