/* Gloo's allreduce of floats, sum, out of place, as a peer of wgccl: processes of one machine over its TCP transport, which is
 * what it has there. One line of JSON comes out.
 *
 *   allreduce_gloo ring|bcube RANKS BYTES SECONDS REPETITIONS BUDGET */
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include "measure.hpp"

using Algorithm = gloo::AllreduceOptions::Algorithm;

struct Rank {
    std::shared_ptr<gloo::rendezvous::Context> context;
    Algorithm algorithm;

    Rank(int rank, int ranks, const std::string &directory, Algorithm algorithm)
        : context(std::make_shared<gloo::rendezvous::Context>(rank, ranks)), algorithm(algorithm) {
        gloo::rendezvous::FileStore store(directory);
        gloo::transport::tcp::attr address;
        address.hostname = "127.0.0.1";
        auto device = gloo::transport::tcp::CreateDevice(address);
        context->connectFullMesh(store, device);
    }

    void sum(float *input, float *output, size_t count) {
        gloo::AllreduceOptions options(context);
        options.setAlgorithm(algorithm);
        options.setInput(input, count);
        options.setOutput(output, count);
        void (*add)(void *, const void *, const void *, size_t) = &gloo::sum<float>;
        options.setReduceFunction(add);
        gloo::allreduce(options);
    }

    double most(double mine) {
        gloo::AllreduceOptions options(context);
        options.setOutput(&mine, 1);
        void (*max)(void *, const void *, const void *, size_t) = &gloo::max<double>;
        options.setReduceFunction(max);
        gloo::allreduce(options);
        return mine;
    }

    void barrier() {
        gloo::BarrierOptions options(context);
        gloo::barrier(options);
    }
};

int main(int argc, char **argv) {
    std::string name = argc > 1 ? argv[1] : "";
    peers::Arguments of;
    const char *why = argc == 7 ? peers::Arguments::read(argv + 2, of) : "something is missing";
    if (!why && name != "ring" && name != "bcube") why = "there are ring and bcube";
    if (why) {
        std::fprintf(stderr, "%s\nusage: allreduce_gloo ring|bcube RANKS BYTES SECONDS REPETITIONS BUDGET\n", why);
        return 1;
    }
    return peers::processes(of.ranks, [&](int me, const std::string &directory) {
        Rank rank(me, of.ranks, directory, name == "ring" ? Algorithm::RING : Algorithm::BCUBE);
        peers::measure(rank, me, of);
    });
}
