package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// A value that is none is a mistake in the command line: one line with flag, value and what is wanted, in the user's words, before
// anything is opened.
func TestRefusedValues(t *testing.T) {
	internal := regexp.MustCompile(`strconv|\.go:|ops:|stage |choose one of ,|batch_size|%!`)
	knn, embed := "knn --model_path m --data_folder d ", "embed --model_path m --data_folder d --out f.npy "
	retrieve, train := "retrieve --model_path m --data_folder d --index 0 ", "train cmc --data_folder d "
	probe := "probe --model_path m --data_folder d "
	for args, want := range map[string]string{
		knn + "--t NaN":                                       "--t NaN",
		knn + "--threads -1":                                  `--threads "-1": must be between 0 and 4096`,
		knn + "--threads 5000":                                `--threads "5000": must be between 0 and 4096`,
		"report run --threads 5000":                           `--threads "5000": must be between 0 and 4096`,
		knn + "--bad_samples 2":                               `--bad_samples "2": must be in [0,1]`,
		knn + "--towers 1,1":                                  "--towers 1,1: tower 1 is there twice",
		embed + "--towers x":                                  `--towers "x": `,
		retrieve + "--device gpu":                             `--device "gpu": choose auto, cpu, cuda or cuda:N`,
		probe + "--device gpu":                                `--device "gpu": choose auto, cpu, cuda or cuda:N`,
		knn + "--k x":                                         `--k "x": want a whole number`,
		embed + "--threads -1":                                "--threads",
		embed + "--image_size 31":                             "--image_size 31: must be between 32 and 4096",
		embed + "--out x.foo":                                 "--out: x.foo",
		embed + "--half middle":                               `--half "middle"`,
		embed + "--bad_samples NaN":                           `--bad_samples "NaN": must be in [0,1]`,
		retrieve + "--out x.jpg":                              "ends in .png",
		retrieve + "--index x":                                `--index "x": want whole numbers separated by commas`,
		"report run --threads -1":                             "--threads",
		"report run --bad_samples -1":                         `--bad_samples "-1": must be in [0,1]`,
		"profile cmc --data_folder d --seconds NaN":           "--seconds NaN",
		"profile cmc --data_folder d --seconds +Inf":          "--seconds +Inf",
		"preview cmc --data_folder d --out g.jpg":             "ends in .png",
		train + "--lr_decay_epochs -1":                        "--lr_decay_epochs -1: epochs count from 1",
		train + "--lr_decay_epochs 3,x":                       "want a list such as",
		train + "--warmup_epochs -1":                          "--warmup_epochs -1",
		train + "--keep -1":                                   "--keep -1: must be 0 (all) or more",
		train + "--save_freq -2":                              "--save_freq -2",
		train + "--save_steps -3":                             "--save_steps -3",
		train + "--epochs many":                               `--epochs "many": want a whole number`,
		train + "--epochs 99999999999999999999":               `--epochs "99999999999999999999": out of range: want a whole number`,
		train + "--nce_t warm":                                `--nce_t "warm": want a number`,
		train + "--IM=perhaps":                                `--IM "perhaps": want true or false`,
		probe + "--pool foo":                                  `--pool "foo": choose one of max, avg`,
		probe + "--towers 0,0":                                "--towers 0,0: tower 0 is there twice",
		probe + "--towers a":                                  `"a" is not a whole number: want a list such as 1,2,3`,
		probe + "--lr_decay_epochs -1":                        "--lr_decay_epochs -1",
		probe + "--max_steps -1":                              "--max_steps -1",
		"study views --seeds 1,1":                             "--seeds 1,1: 1 is there twice",
		"study views --seeds a":                               "want a list such as 1,2,3",
		"study views --model foo":                             `no model "foo"`,
		"study views --image_size 31":                         "--image_size 31",
		"study views --layer 8":                               "--layer 8: resnet18v1 has layers 1 to 7",
		"convert run":                                         "found 1 argument:",
		"compare run":                                         "found 1 argument:",
		"presets demo study":                                  "contraflow presets wants at most one name, found 2 arguments",
		"preview cmc --data_folder d --out g.png --step -1":   "--step -1",
		"preview cmc --data_folder d --out g.png --rank 1":    "--rank 1, --ranks 1",
		"study objectives --view_dirs nosuch":                 "study objectives takes two views, found 3, L, ab, nosuch",
		"data synth --out x --classes 0":                      "0 classes",
		"data synth --out x --size 0":                         "size 0",
		"data synth --out x --quality 0":                      `--quality "0": must be 1 or more`,
		"data pack --out x":                                   "--data_folder is missing",
		"data pack --data_folder d":                           "--out is missing",
		"data pack --data_folder d --out x --quality 0":       "--quality 0",
		"data pack --data_folder d --out x --bad_samples NaN": "--bad_samples NaN",
		"data pack --data_folder d --out x --workers -1":      "--workers -1",
		"data pack --data_folder d --out x --decoder foo":     "choose one of auto, turbo, go",
		"data verify":                                         "--data_folder is missing",
		"data verify --data_folder d --workers -1":            `--workers "-1": must be between 0 and 4096`,
		"data stats":                                          "--data_folder is missing",
		"data stats --data_folder d --view foo":               "--view",
		"data stats --data_folder d --max_images -1":          "--max_images",
		"bench decode":                                        "--data_folder is missing",
		"bench decode --data_folder d --path foo":             `--path "foo": choose cmc, moco or insdis`,
		"bench decode --data_folder d --seconds 0":            "--seconds 0",
		"bench decode --data_folder d --decoder foo":          "choose one of auto, turbo, go",
		"bench decode --data_folder d --batch 1":              "--batch 1: batch normalisation",
		"bench step --steps 0":                                "--steps 0",
		"bench step --model foo":                              `no model "foo"`,
		"bench step --threads -1":                             "--threads -1",
		"bench step --flow predict":                           `--flow "predict": choose cmc, moco or insdis`,
		"bench step --flow foo":                               `--flow "foo"`,
		"bench step --flow cmc --query_only":                  "--query_only",
		"bench step --batch 1":                                "--batch 1: batch normalisation",
		"bench conv --runs 0":                                 `--runs "0": must be 1 or more`,
		"bench conv --runs -1":                                "--runs",
		"bench conv --batch 0":                                `--batch "0": must be between 1 and 1024`,
		"bench conv --batch 4000000000":                       `--batch "4000000000": must be between 1 and 1024`,
		"bench conv --threads -1":                             "--threads",
		"bench bank --threads -1":                             "--threads",
		"bench bank --nce_k 0":                                `--nce_k "0": must be 1 or more`,
	} {
		code, _, text := command(t, strings.Fields(args)...)
		if code != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, want) || internal.MatchString(text) {
			t.Errorf("%s: exit %d, want 2 and %q:\n%s", args, code, want, text)
		}
	}
}

// What a signal ends says so, whichever stage noticed.
func TestInterrupted(t *testing.T) {
	if got := line(fmt.Errorf("decode: %w", context.Canceled)); got != "interrupted" {
		t.Errorf("it says %q", got)
	}
	if got := line(errors.New("a\nb")); got != "a" {
		t.Errorf("it says %q", got)
	}
}
