/* MPI_Allreduce of floats, SUM, out of place, as a peer of wgccl. One line of JSON comes out.
 *
 *   mpirun -np RANKS allreduce RANKS BYTES SECONDS REPETITIONS BUDGET
 *
 * A time is that of CALLS back-to-back calls between barriers on the slowest rank, divided by CALLS, as nccl-tests has
 * it. The arguments and the way to choose CALLS are those of rust/src/sample.rs. The result of one more call, apart
 * from the timed ones, is compared exactly on every rank. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { FEWEST = 3, MOST_REPETITIONS = 1000 };

static int fail(int rank, const char *why) {
    if (rank == 0) fprintf(stderr, "%s\nusage: allreduce RANKS BYTES SECONDS REPETITIONS BUDGET\n", why);
    MPI_Finalize();
    return 1;
}

/* Small whole numbers: their sums are exact in any order. */
static float value(int rank, size_t index) { return (float)((index * 31 + (size_t)rank * 17) % 1021); }

/* Seconds that the slowest rank took; the same on all ranks, so that all choose alike. */
static double batch(long calls, const float *input, float *output, int count) {
    double took;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (long i = 0; i < calls; i++) MPI_Allreduce(input, output, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    took = MPI_Wtime() - start;
    MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return took;
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 6) return fail(rank, "something is missing");
    long bytes = atol(argv[2]);
    double seconds = atof(argv[3]), budget = atof(argv[5]);
    int most = atoi(argv[4]);
    if (atoi(argv[1]) != ranks) return fail(rank, "RANKS is not what mpirun started");
    if (bytes < 4 || bytes % 4 != 0 || bytes > 2147483644L) return fail(rank, "BYTES must be a multiple of 4 below 2 GiB");
    if (!(seconds > 0) || most < 1 || most > MOST_REPETITIONS) return fail(rank, "SECONDS or REPETITIONS make no sense");

    int count = (int)(bytes / 4);
    float *input = malloc((size_t)bytes), *output = malloc((size_t)bytes);
    if (!input || !output) {
        fprintf(stderr, "rank %d has no memory for %ld bytes twice\n", rank, bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int i = 0; i < count; i++) input[i] = value(rank, (size_t)i), output[i] = NAN;

    batch(1, input, output, count);
    long calls = 1;
    double took;
    for (;; calls *= 2) {
        /* The shorter of two: one interruption must not pass for a slow library. */
        double again = batch(calls, input, output, count);
        took = batch(calls, input, output, count);
        if (again < took) took = again;
        if (took >= seconds / 4) break;
    }
    double per_call = took / (double)calls;
    calls = (long)(seconds / per_call);
    if (calls < FEWEST) calls = FEWEST;
    double affordable = budget / (per_call * (double)calls);
    int repetitions = affordable < most ? (int)affordable : most;
    if (repetitions < FEWEST) repetitions = FEWEST;
    static double times[MOST_REPETITIONS + FEWEST];
    for (int i = 0; i < repetitions; i++) times[i] = 1e6 * batch(calls, input, output, count) / (double)calls;

    for (int i = 0; i < count; i++) output[i] = NAN;
    MPI_Allreduce(input, output, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    long wrong = 0;
    for (int i = 0; i < count; i++) {
        float sum = 0;
        for (int r = 0; r < ranks; r++) sum += value(r, (size_t)i);
        wrong += !(output[i] == sum);
    }
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("{\"calls\":%ld,\"times_us\":[", calls);
        for (int i = 0; i < repetitions; i++) printf("%s%.4f", i ? "," : "", times[i]);
        printf("],\"wrong\":%ld}\n", wrong);
    }
    free(input);
    free(output);
    MPI_Finalize();
    return 0;
}
