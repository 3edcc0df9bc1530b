package flows

import "github.com/contraflow/contraflow/stages"

// Options are everything a training run can be told. They are grouped by the stage that reads them; flag names,
// defaults and their origins live in one table (flags.go), from which the command line and its help are derived.
type Options struct {
	Method string // cmc, moco, insdis, predict, supervised
	Data   DataOptions
	Mix    MixOptions
	Net    NetOptions
	Loss   LossOptions
	Optim  OptimOptions
	Run    RunOptions
}

// DataOptions choose images and how they become views.
type DataOptions struct {
	Folder     string    // --data_folder: a folder, a URL, or two of either with a comma between
	Split      string    // --split: what to train on; empty is train
	ClassList  string    // --class_list: imagenet100 or a file; empty takes all classes
	Dataset    string    // --dataset: imagenet, imagenet100; only the crop rule of the reference
	View       string    // --view: Lab, YCbCr, RGB, …
	Views      string    // --views: channel split, "L|ab"
	ViewDirs   string    // --view_dirs: further views in files beside the images, "depth,normals"
	Beside     []Beside  // what --view_dirs were found to be, in a checkpoint
	ViewMean   []float64 // --view_mean: three means; empty takes those of the space
	ViewStd    []float64 // --view_std
	ImageSize  int       // --image_size
	CropLow    float64   // --crop_low (cmc), --crop (moco, insdis)
	CropRule   string    // --crop_rule: torchvision-0.3, torchvision-0.2
	Aug        string    // --aug: NULL, CJ
	Decoder    string    // --decoder: auto, turbo, go
	BadSamples float64   // --bad_samples: largest share of unreadable images
	Workers    int       // --workers, --num_workers: decode workers; 0 picks from the cores
	Autotune   bool      // --autotune: move workers among the loading stages while training
	CPUBudget  float64   // --cpu_budget: share of the cores that they may take
	Rank       int       // --rank of --ranks: this process takes every Ranks-th sample of a global batch, from Rank on
	Ranks      int       // 0 is 1

	// ViewFuncs are further views that functions make of the crops. They are not part of a checkpoint: who goes on from
	// one, or judges it, gives them again; without them its other views are still read.
	ViewFuncs []stages.ViewFunc `json:"-"`
}

// MixOptions choose the image mixture.
type MixOptions struct {
	On      bool    // --IM
	Type    string  // --IM_type: IM, global, region, Cutout, RandomErasing, unmix
	Partner string  // --mix_partner: dataset, batch
	GAlpha  float64 // --g_alpha
	GNum    int     // --g_num
	GProb   float64 // --g_prob
	RBeta   float64 // --r_beta
	RNum    int     // --r_num
	RProb   float64 // --r_prob
	RDecay  float64 // --r_pixel_decay

	MaskSize     float64 // --mask_size; the original's is a float
	CutoutP      float64 // --cutout_p
	CutoutInside bool    // --cutout_inside
	MaskColor    int     // --mask_color

	AreaRange  []float64 // --area_ratio_range
	EraseP     float64   // --random_erasing_prob
	MinAspect  float64   // --min_aspect_ratio
	MaxAttempt int       // --max_attempt

	UnmixProb float64 // --unmix_prob
	UnmixBeta float64 // --unmix_beta
}

// NetOptions choose the encoders and where they run.
type NetOptions struct {
	Model     string  // --model
	FeatDim   int     // --feat_dim
	Stem      string  // --stem: imagenet, small
	BNGroups  int     // --bn_groups
	AlexGamma bool    // --alexnet_uniform_gamma: γ ~ U(0,1) as PyTorch ≤ 1.1
	Alpha     float64 // --alpha: momentum of the key encoder
	Device    string  // --device: auto, cpu, cuda[:N]
	Threads   int     // --threads: compute threads; 0 is all cores
	Direct    bool    // --deterministic_reference: no Winograd
	CUDAGraph bool    // --cuda_graph: the cuda device records a step once and launches it whole
	TF32      bool    // --tf32: the cuda device may round the inputs of float products
	AMP       bool    // --amp: bfloat16 where the device can; part of the name of the run folder
	OptLevel  string  // --opt_level
}

// LossOptions choose the contrast.
type LossOptions struct {
	Softmax bool    // --softmax
	K       int     // --nce_k
	T       float64 // --nce_t
	M       float64 // --nce_m
	ZDecay  float64 // --nce_z_ema: moving average of Z; 0 is the reference's one-shot Z
	Graph   string  // --graph: core, full
	Predict string  // --predict_loss: L1, L2
}

// OptimOptions are SGD and its schedule.
type OptimOptions struct {
	BatchSize   int     // --batch_size
	Epochs      int     // --epochs
	LR          float64 // --learning_rate
	DecayEpochs []int   // --lr_decay_epochs
	DecayRate   float64 // --lr_decay_rate
	Cosine      bool    // --cosine
	WarmEpochs  int     // --warmup_epochs
	Warm        bool    // --warm: only the name of the run folder
	Momentum    float64 // --momentum
	WeightDecay float64 // --weight_decay
	DropLast    bool    // --drop_last
}

// RunOptions say how long, where to and how loudly.
type RunOptions struct {
	ModelPath string  // --model_path
	Name      string  // --run_name; empty derives the reference's name
	Legacy    bool    // --legacy_names: the reference's name and nothing more
	TBPath    string  // --tb_path; empty writes no TensorBoard events
	PrintFreq int     // --print_freq: steps between lines of the reference's form; 0 prints one line a second
	Preset    string  // --preset: a named set of flags
	Resume    string  // --resume: empty, auto, or a path
	Force     bool    // --force: resume with options that change the run
	Seed      int     // --seed
	MaxSteps  int     // --max_steps; 0 is no limit
	SaveFreq  int     // --save_freq, epochs
	SaveSteps int     // --save_steps; 0 is never
	Keep      int     // --keep: checkpoints kept
	OnNaN     string  // --on_nan: stop, skip
	Watchdog  float64 // --watchdog: seconds after which a call of a stage is reported; 0 never
	Metrics   string  // --metrics_addr: where Prometheus reads; empty is nowhere
	Quiet     bool    // --quiet
	KNNEvery  int     // --knn_every, epochs; 0 is never
	KNNImages int     // --knn_images: of each half
	Report    bool    // --report
}
