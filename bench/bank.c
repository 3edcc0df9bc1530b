// The memory's contrast in C, the peer of `contraflow bench bank`: for every query gathered dot products, the NCE loss, and
// the gradient of the query, block by block while the rows are in cache. One thread, AVX-512 with software prefetch; exp and log
// are vectorised by the compiler.
//
//	gcc -O3 -march=native -ffast-math bank.c -o bank -lm && ./bank B K D N RUNS     prints the milliseconds of every run
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { block = 512, ahead = 16 };

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

static uint64_t state = 88172645463325252ull;
static uint64_t draw(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

// dots is s[j] = x · row index[j]; prefetch reaches 16 rows ahead.
static void dots(float *s, const float *x, const float *rows, const int32_t *index, int n, int d) {
	for (int j = 0; j < n; j++) {
		const float *r = rows + (size_t)index[j] * d;
		const char *next = (const char *)(rows + (size_t)index[j + ahead < n ? j + ahead : j] * d);
		__m512 a = _mm512_setzero_ps(), b = a;
		for (int k = 0; k < d; k += 32) {
			_mm_prefetch(next + 4 * k, _MM_HINT_T0);
			_mm_prefetch(next + 4 * k + 64, _MM_HINT_T0);
			a = _mm512_fmadd_ps(_mm512_loadu_ps(x + k), _mm512_loadu_ps(r + k), a);
			b = _mm512_fmadd_ps(_mm512_loadu_ps(x + k + 16), _mm512_loadu_ps(r + k + 16), b);
		}
		s[j] = _mm512_reduce_add_ps(_mm512_add_ps(a, b));
	}
}

// spread is g += Σ coef[j]·row index[j], 128 columns in registers.
static void spread(float *g, const float *coef, const float *rows, const int32_t *index, int n, int d) {
	for (int k = 0; k < d; k += 128) {
		__m512 a[8];
		for (int i = 0; i < 8; i++) a[i] = _mm512_loadu_ps(g + k + 16 * i);
		for (int j = 0; j < n; j++) {
			const float *r = rows + (size_t)index[j] * d + k;
			__m512 c = _mm512_set1_ps(coef[j]);
			for (int i = 0; i < 8; i++) a[i] = _mm512_fmadd_ps(c, _mm512_loadu_ps(r + 16 * i), a[i]);
		}
		for (int i = 0; i < 8; i++) _mm512_storeu_ps(g + k + 16 * i, a[i]);
	}
}

int main(int argc, char **argv) {
	if (argc < 6) return fprintf(stderr, "bank B K D N RUNS\n"), 2;
	int B = atoi(argv[1]), K = atoi(argv[2]), D = atoi(argv[3]), N = atoi(argv[4]), runs = atoi(argv[5]);
	size_t bytes = (size_t)N * D * 4;
	float *rows = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(rows, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < (size_t)N * D; i++) rows[i] = ((float)(draw() >> 40) / (1 << 24) - 0.5f) / 6;
	float *q = malloc(4 * B * D), *grad = malloc(4 * B * D);
	for (int i = 0; i < B * D; i++) q[i] = ((float)(draw() >> 40) / (1 << 24) - 0.5f) / 4;
	int32_t *index = malloc(4 * (size_t)B * (K + 1));
	double T = 0.07, Z = 2876934.0, c0 = (double)K / N, c = c0 + 1e-7, loss = 0;
	float s[block];
	for (int run = 0; run <= runs; run++) {
		for (size_t i = 0; i < (size_t)B * (K + 1); i++) index[i] = (int32_t)(((draw() >> 32) * (uint64_t)N) >> 32);
		memset(grad, 0, 4 * B * D);
		double t = now();
		for (int b = 0; b < B; b++) {
			for (int from = 0; from <= K; from += block) {
				int n = K + 1 - from < block ? K + 1 - from : block;
				const int32_t *ix = index + (size_t)b * (K + 1) + from;
				dots(s, q + b * D, rows, ix, n, D);
				double part = 0;
				for (int j = 0; j < n; j++) {
					double p = exp(s[j] / T) / Z;
					part -= log(c0 / (p + c));
					s[j] = (float)(p / (p + c));
				}
				loss += part;
				spread(grad + b * D, s, rows, ix, n, D);
			}
		}
		if (run > 0) printf("%.3f\n", now() - t);
	}
	fprintf(stderr, "loss %g gradient %g\n", loss, grad[0]);
}
