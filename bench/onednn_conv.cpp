// oneDNN's side of `contraflow bench conv`: the convolutions of ResNet-50, three passes each, best of several runs; one line a layer:
// name, times it occurs, milliseconds forward, gradient of the input, gradient of the weights. Layouts are oneDNN's own choice and
// reorders are not counted; the first layer's gradient of the input is.
//
//	apt-get install libdnnl-dev; g++ -O2 onednn_conv.cpp -o onednn_conv -ldnnl && OMP_NUM_THREADS=1 ./onednn_conv BATCH RUNS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dnnl.hpp>
#include <unordered_map>
using namespace dnnl;

struct Layer {
	const char *name;
	int count, in, size, out, kernel, stride;
};
static const Layer layers[] = {
	{"conv1 7x7/2", 1, 3, 224, 64, 7, 2},      {"l1 1x1 64>64", 1, 64, 56, 64, 1, 1},       {"l1 3x3 64", 3, 64, 56, 64, 3, 1},
	{"l1 1x1 64>256", 4, 64, 56, 256, 1, 1},   {"l1 1x1 256>64", 2, 256, 56, 64, 1, 1},     {"l2 1x1 256>128", 1, 256, 56, 128, 1, 1},
	{"l2 3x3/2 128", 1, 128, 56, 128, 3, 2},   {"l2 1x1/2 256>512", 1, 256, 56, 512, 1, 2}, {"l2 1x1 128>512", 4, 128, 28, 512, 1, 1},
	{"l2 1x1 512>128", 3, 512, 28, 128, 1, 1}, {"l2 3x3 128", 3, 128, 28, 128, 3, 1},       {"l3 1x1 512>256", 1, 512, 28, 256, 1, 1},
	{"l3 3x3/2 256", 1, 256, 28, 256, 3, 2},   {"l3 1x1/2 512>1024", 1, 512, 28, 1024, 1, 2}, {"l3 1x1 256>1024", 6, 256, 14, 1024, 1, 1},
	{"l3 1x1 1024>256", 5, 1024, 14, 256, 1, 1}, {"l3 3x3 256", 5, 256, 14, 256, 3, 1},     {"l4 1x1 1024>512", 1, 1024, 14, 512, 1, 1},
	{"l4 3x3/2 512", 1, 512, 14, 512, 3, 2},   {"l4 1x1/2 1024>2048", 1, 1024, 14, 2048, 1, 2}, {"l4 1x1 512>2048", 3, 512, 7, 2048, 1, 1},
	{"l4 1x1 2048>512", 2, 2048, 7, 512, 1, 1}, {"l4 3x3 512", 2, 512, 7, 512, 3, 1},
};

static double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int main(int argc, char **argv) {
	int batch = argc > 1 ? atoi(argv[1]) : 8, runs = argc > 2 ? atoi(argv[2]) : 5;
	engine cpu(engine::kind::cpu, 0);
	stream s(cpu);
	const auto f32 = memory::data_type::f32;
	const auto any = memory::format_tag::any;
	for (const Layer &l : layers) {
		int pad = l.kernel / 2, out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
		memory::desc x({batch, l.in, l.size, l.size}, f32, any), w({l.out, l.in, l.kernel, l.kernel}, f32, any), y({batch, l.out, out, out}, f32, any);
		memory::dims stride{l.stride, l.stride}, border{pad, pad};
		const auto direct = algorithm::convolution_direct;
		convolution_forward::primitive_desc f({prop_kind::forward_training, direct, x, w, y, stride, border, border}, cpu);
		convolution_backward_data::primitive_desc d({direct, x, w, y, stride, border, border}, cpu, f);
		convolution_backward_weights::primitive_desc g({direct, x, w, y, stride, border, border}, cpu, f);
		auto make = [&](const memory::desc &m) {
			memory out(m, cpu);
			float *p = (float *)out.get_data_handle();
			for (size_t i = 0; i < m.get_size() / 4; i++) p[i] = float(i % 61) / 61 - 0.5f;
			return out;
		};
		auto time = [&](primitive p, std::unordered_map<int, memory> args) {
			double best = 1e30;
			for (int i = 0; i <= runs; i++) {
				double t = now();
				p.execute(s, args);
				s.wait();
				t = now() - t;
				if (i > 0 && t < best) best = t;
			}
			return best;
		};
		double tf = time(convolution_forward(f), {{DNNL_ARG_SRC, make(f.src_desc())}, {DNNL_ARG_WEIGHTS, make(f.weights_desc())}, {DNNL_ARG_DST, make(f.dst_desc())}});
		double td = time(convolution_backward_data(d), {{DNNL_ARG_DIFF_SRC, make(d.diff_src_desc())}, {DNNL_ARG_WEIGHTS, make(d.weights_desc())}, {DNNL_ARG_DIFF_DST, make(d.diff_dst_desc())}});
		double tw = time(convolution_backward_weights(g), {{DNNL_ARG_SRC, make(g.src_desc())}, {DNNL_ARG_DIFF_WEIGHTS, make(g.diff_weights_desc())}, {DNNL_ARG_DIFF_DST, make(g.diff_dst_desc())}});
		printf("%s\t%d\t%.4f\t%.4f\t%.4f\n", l.name, l.count, tf, td, tw);
	}
}
