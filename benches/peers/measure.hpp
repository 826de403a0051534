/* What every rank of a C++ peer does: the arguments, the way to choose calls and the check are those of allreduce.c. */
#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

namespace peers {

constexpr int FEWEST = 3, MOST_REPETITIONS = 1000;

/* RANKS BYTES SECONDS REPETITIONS BUDGET */
struct Arguments {
    int ranks, repetitions;
    long bytes;
    double seconds, budget;

    /* What is wrong with them; null if nothing is. */
    static const char *read(char **words, Arguments &into) {
        into = {std::atoi(words[0]), std::atoi(words[3]), std::atol(words[1]), std::atof(words[2]), std::atof(words[4])};
        if (into.ranks < 1 || into.ranks > 64) return "RANKS must be 1 to 64";
        if (into.bytes < 4 || into.bytes % 4 != 0 || into.bytes > 2147483644L) return "BYTES must be a multiple of 4 below 2 GiB";
        if (!(into.seconds > 0) || into.repetitions < 1 || into.repetitions > MOST_REPETITIONS)
            return "SECONDS or REPETITIONS make no sense";
        return nullptr;
    }
};

/* Small whole numbers: their sums are exact in any order. */
inline float value(int rank, size_t index) {
    return static_cast<float>((index * 31 + static_cast<size_t>(rank) * 17) % 1021);
}

/* Rank has sum(input, output, count), most(number), the greatest of all ranks', and barrier(). */
template <class Rank> void measure(Rank &rank, int me, const Arguments &of) {
    size_t count = static_cast<size_t>(of.bytes) / sizeof(float);
    std::vector<float> input(count), output(count, NAN);
    for (size_t i = 0; i < count; i++) input[i] = value(me, i);
    /* Seconds that the slowest rank took; the same on all ranks, so that all choose alike. */
    auto batch = [&](long calls) {
        rank.barrier();
        auto start = std::chrono::steady_clock::now();
        for (long i = 0; i < calls; i++) rank.sum(input.data(), output.data(), count);
        std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        return rank.most(took.count());
    };

    batch(1);
    long calls = 1;
    double took;
    for (;; calls *= 2) {
        /* The shorter of two: one interruption must not pass for a slow library. */
        double again = batch(calls);
        took = std::min(again, batch(calls));
        if (took >= of.seconds / 4) break;
    }
    double per_call = took / static_cast<double>(calls);
    calls = std::max<long>(FEWEST, static_cast<long>(of.seconds / per_call));
    double affordable = of.budget / (per_call * static_cast<double>(calls));
    int repetitions = std::max(FEWEST, affordable < of.repetitions ? static_cast<int>(affordable) : of.repetitions);
    std::vector<double> times;
    for (int i = 0; i < repetitions; i++) times.push_back(1e6 * batch(calls) / static_cast<double>(calls));

    std::fill(output.begin(), output.end(), NAN);
    rank.sum(input.data(), output.data(), count);
    double wrong = 0;
    for (size_t i = 0; i < count; i++) {
        float sum = 0;
        for (int r = 0; r < of.ranks; r++) sum += value(r, i);
        wrong += !(output[i] == sum);
    }
    wrong = rank.most(wrong);
    if (me > 0) return;
    std::printf("{\"calls\":%ld,\"times_us\":[", calls);
    for (size_t i = 0; i < times.size(); i++) std::printf("%s%.4f", i ? "," : "", times[i]);
    std::printf("],\"wrong\":%.0f}\n", wrong);
    std::fflush(stdout);
}

/* A process for each rank, which finds the others by files in a directory. Not 0 if any of them fails. */
template <class Work> int processes(int ranks, Work work) {
    std::string directory = (std::filesystem::temp_directory_path() / "wgccl-peer-XXXXXX").string();
    if (!mkdtemp(directory.data())) {
        std::fprintf(stderr, "no directory could be made\n");
        return 1;
    }
    int failed = 0;
    for (int rank = 0; rank < ranks; rank++) {
        pid_t child = fork();
        if (child == 0) {
            try {
                work(rank, directory);
                std::_Exit(0);
            } catch (const std::exception &error) {
                std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
                std::_Exit(1);
            }
        }
        failed |= child < 0;
    }
    for (int status; wait(&status) > 0;) failed |= status != 0;
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    return failed;
}

}  // namespace peers
