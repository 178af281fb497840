// The tables of so3/parallels.hpp on the current device: made in double on first use, uploaded once for each device,
// degree, number of nodes and type, and kept for the life of the process.
#pragma once

#include <cuda_runtime.h>

#include <telamon/so3/parallels.hpp>

#include <cstddef>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

namespace telamon::so3 {

// Copies to memory of the device. The stream is one of its own and the capture mode relaxed, so that neither other
// work waits nor a graph that another part of the program captures is broken.
template <class T>
cudaError_t upload(const std::vector<T>& from, T*& to) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  if (const cudaError_t error = cudaThreadExchangeStreamCaptureMode(&mode)) return error;
  cudaStream_t stream = nullptr;
  cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) {
    error = cudaMalloc(&to, from.size() * sizeof(T));
    if (error == cudaSuccess) {
      error = cudaMemcpyAsync(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice, stream);
      if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
      if (error != cudaSuccess) cudaFree(to);
    }
    cudaStreamDestroy(stream);
  }
  cudaThreadExchangeStreamCaptureMode(&mode);
  return error;
}

template <class T>
int device_parallels(int lmax, int nodes, detail::parallels<T>& found) {
  static std::mutex mutex;
  static auto* tables = new std::map<std::tuple<int, int, int>, detail::parallels<T>>;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  const std::lock_guard<std::mutex> lock(mutex);  // a second thread waits until the table is there
  const auto key = std::make_tuple(device, lmax, nodes);
  const auto entry = tables->find(key);
  if (entry != tables->end()) {
    found = entry->second;
    return cudaSuccess;
  }
  const detail::parallels_storage<T> host = detail::make_parallels<T>(lmax, nodes);
  std::vector<T> all;
  for (const std::vector<T>* part : {&host.synthesis, &host.slope, &host.analysis, &host.inverse_sine}) {
    all.insert(all.end(), part->begin(), part->end());
  }
  T* at = nullptr;
  if (const cudaError_t error = upload(all, at)) return error;
  found = host.view;
  found.synthesis = at, at += host.synthesis.size();
  found.slope = at, at += host.slope.size();
  found.analysis = at, at += host.analysis.size();
  found.inverse_sine = at;
  tables->emplace(key, found);
  return cudaSuccess;
}

}  // namespace telamon::so3
