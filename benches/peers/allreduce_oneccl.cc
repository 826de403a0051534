/* oneCCL's allreduce of floats, sum, out of place, as a peer of wgccl: processes of one machine, its CPU path. One line of JSON comes
 * out.
 *
 *   allreduce_oneccl RANKS BYTES SECONDS REPETITIONS BUDGET */
#include <fstream>
#include <oneapi/ccl.hpp>
#include <thread>

#include "measure.hpp"

/* The first rank's address, which the others read from a file. */
static ccl::shared_ptr_class<ccl::kvs> meet(int rank, const std::string &directory) {
    std::filesystem::path path = std::filesystem::path(directory) / "address", written = path.string() + ".part";
    ccl::kvs::address_type address;
    if (rank == 0) {
        auto kvs = ccl::create_main_kvs();
        address = kvs->get_address();
        std::ofstream(written, std::ios::binary).write(address.data(), static_cast<std::streamsize>(address.size()));
        std::filesystem::rename(written, path);
        return kvs;
    }
    while (!std::filesystem::exists(path)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::ifstream(path, std::ios::binary).read(address.data(), static_cast<std::streamsize>(address.size()));
    return ccl::create_kvs(address);
}

struct Rank {
    ccl::communicator communicator;

    Rank(int rank, int ranks, const std::string &directory)
        : communicator(ccl::create_communicator(ranks, rank, meet(rank, directory))) {}

    void sum(const float *input, float *output, size_t count) {
        ccl::allreduce(input, output, count, ccl::reduction::sum, communicator).wait();
    }

    double most(double mine) {
        double all = 0;
        ccl::allreduce(&mine, &all, 1, ccl::reduction::max, communicator).wait();
        return all;
    }

    void barrier() { ccl::barrier(communicator); }
};

int main(int argc, char **argv) {
    peers::Arguments of;
    const char *why = argc == 6 ? peers::Arguments::read(argv + 1, of) : "something is missing";
    if (why) {
        std::fprintf(stderr, "%s\nusage: allreduce_oneccl RANKS BYTES SECONDS REPETITIONS BUDGET\n", why);
        return 1;
    }
    return peers::processes(of.ranks, [&](int me, const std::string &directory) {
        ccl::init();
        Rank rank(me, of.ranks, directory);
        peers::measure(rank, me, of);
    });
}
