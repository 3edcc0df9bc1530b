//go:build unix

package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/contraflow/contraflow/flows"
)

// TestMain lets this binary be the command: a process of its own can be told to stop.
func TestMain(m *testing.M) {
	if os.Getenv("CONTRAFLOW_TEST_MAIN") != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// output collects what a process prints and tells when a text has appeared.
type output struct {
	text bytes.Buffer
	want string
	seen chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.text.Write(p)
	if o.want != "" && strings.Contains(o.text.String(), o.want) {
		o.want = ""
		close(o.seen)
	}
	return n, err
}

// Told to stop by either signal a run finishes its step, saves, exits with 75 and prints a command that goes on; what that
// trains is what a run never stopped does. A second signal ends it at once and leaves the last checkpoint as it was.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "it's data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "8", "--val_per_class", "2", "--size", "40"); code != 0 {
		t.Fatal(text)
	}
	train := func(name string) []string {
		return []string{"train", "moco", "--softmax", "--data_folder", data, "--model", "resnet18", "--image_size", "32", "--nce_k", "16", "--batch_size", "8",
			"--dataset", "imagenet100", "--model_path", filepath.Join(dir, "runs"), "--tb_path", "", "--epochs", "100", "--max_steps", "26", "--save_steps", "4",
			"--print_freq", "1", "--run_name", name}
	}
	if code, _, text := command(t, train("straight")...); code != 0 {
		t.Fatal(text)
	}
	child := func(args []string, signals ...os.Signal) (code int, stderr string, took time.Duration) {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
		out := &output{want: "[9][1/2]", seen: make(chan struct{})} // a line of the ninth epoch: four saves are due before it, of which three may wait
		var problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = out, &problems
		ended := started(t, cmd)
		select {
		case <-out.seen:
		case <-ended:
			t.Fatalf("ended before the ninth epoch: %s%s", &problems, &out.text)
		}
		start := time.Now()
		for _, s := range signals {
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		<-ended
		return cmd.ProcessState.ExitCode(), problems.String(), time.Since(start)
	}
	for name, s := range map[string]os.Signal{"interrupted": os.Interrupt, "terminated": syscall.SIGTERM} {
		code, text, took := child(train(name), s)
		_, resume, said := strings.Cut(text, "go on with:\n")
		if code != 75 || !said || took > 20*time.Second { // below a second on a machine with nothing else to do
			t.Fatalf("%s: exit %d after %v: %s", name, code, took, text)
		}
		t.Logf("%s: exit 75 after %v", name, took)
		cmd := exec.Command("sh", "-c", resume)
		cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", resume, err, out)
		}
		if code, out, text := command(t, "diff", filepath.Join(dir, "runs", "straight"), filepath.Join(dir, "runs", name)); code != 0 {
			t.Errorf("%s: %s%s", name, out, text)
		}
	}
	code, text, _ := child(train("twice"), syscall.SIGSTOP, os.Interrupt, syscall.SIGTERM, syscall.SIGCONT) // both at once, or it may end before the second
	if code != 1 || !strings.Contains(text, "at once") {
		t.Errorf("two signals: exit %d: %s", code, text)
	}
	if code, _, text := command(t, "inspect", filepath.Join(dir, "runs", "twice")); code != 0 {
		t.Errorf("after two signals: %s", text)
	}
	stop := make(chan struct{})
	close(stop)
	straight := filepath.Join(dir, "runs", "straight")
	if err := report(t.Context(), straight, flows.Options{}, stop, zerolog.Nop()); !errors.Is(err, flows.ErrStopped) {
		t.Errorf("a report that is told to stop: %v", err)
	}
}

// started starts a process. The channel is closed when it has ended.
func started(t *testing.T, cmd *exec.Cmd) (ended chan struct{}) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() {
		cmd.Wait() // its error is the exit code
		close(ended)
	}()
	return ended
}

// The commands that only read end at the first signal. Their images come from a server that never sends one.
func TestReadersStop(t *testing.T) {
	dir := t.TempDir()
	data, packed, model := filepath.Join(dir, "data"), filepath.Join(dir, "packed"), filepath.Join(dir, "run")
	for _, args := range [][]string{
		{"data", "synth", "--out", data, "--classes", "2", "--per_class", "4", "--val_per_class", "2", "--size", "32"},
		{"data", "pack", "--data_folder", data, "--out", packed},
		{"train", "insdis", "--data_folder", data, "--model", "resnet18", "--image_size", "32", "--nce_k", "4", "--batch_size", "4", "--max_steps", "1", "--tb_path=", "--model_path", dir, "--run_name", "run"},
	} {
		if code, _, text := command(t, args...); code != 0 {
			t.Fatal(text)
		}
	}
	files := http.FileServer(http.Dir(packed))
	for _, args := range [][]string{{"embed", "--model_path", model, "--out", filepath.Join(dir, "x.npy")}, {"retrieve", "--model_path", model, "--index", "0"}, {"report", model}} {
		asked := make(chan struct{}, 100)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if filepath.Ext(r.URL.Path) == ".tar" && r.Method == "GET" {
				asked <- struct{}{}
				<-r.Context().Done()
				return
			}
			files.ServeHTTP(w, r)
		}))
		defer server.Close() // one a command: the last one's requests may come after its end
		cmd := exec.Command(os.Args[0], append(args, "--data_folder", server.URL)...)
		cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
		var text bytes.Buffer
		cmd.Stderr = &text
		ended := started(t, cmd)
		select {
		case <-asked:
		case <-ended:
			t.Fatalf("%s: asked for no image: %s", args[0], &text)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second): // below a second on a machine with nothing else to do
			cmd.Process.Kill()
			<-ended
		}
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(text.String(), "interrupted") {
			t.Errorf("%s: exit %d: %s", args[0], code, &text)
		}
	}
}

// A command that answers no signal itself, or not yet, ends at the first one as those that do.
func TestOthersStop(t *testing.T) {
	preset := filepath.Join(t.TempDir(), "preset.yaml")
	if err := syscall.Mkfifo(preset, 0o600); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "train", "cmc", "--data_folder", "d", "--preset", preset)
	cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
	var text bytes.Buffer
	cmd.Stderr = &text
	ended := started(t, cmd)
	w, err := os.OpenFile(preset, os.O_WRONLY, 0) // waits until the preset is read
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 1 || text.String() != "contraflow: interrupted\n" {
		t.Errorf("exit %d: %s", code, &text)
	}
}

// A drawing that is stopped leaves no part of a data set behind.
func TestSynthStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(os.Args[0], "data", "synth", "--out", dir, "--per_class", "1000000")
	cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
	var text bytes.Buffer
	cmd.Stderr = &text
	ended := started(t, cmd)
	for drawing := false; !drawing; {
		select {
		case <-ended:
			t.Fatal(&text)
		case <-time.After(5 * time.Millisecond):
			_, err := os.Stat(dir)
			drawing = err == nil
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 1 || text.String() != "contraflow: interrupted\n" {
		t.Errorf("exit %d: %s", code, &text)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a part of the data set is left")
	}
}

// A study that is stopped exits with 75 and says how it goes on.
func TestStudyStops(t *testing.T) {
	cmd := exec.Command(os.Args[0], "study", "losses", "--out", t.TempDir())
	cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
	out := &output{want: "drawing", seen: make(chan struct{})}
	cmd.Stderr = out
	ended := started(t, cmd)
	select {
	case <-out.seen:
	case <-ended:
		t.Fatal(&out.text)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 75 || !strings.Contains(out.text.String(), "the same command goes on") {
		t.Errorf("exit %d: %s", code, &out.text)
	}
}

// A run whose output nobody reads any more stops as if told to: with a checkpoint.
func TestUnreadRunStops(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "4", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	cmd := exec.Command(os.Args[0], "train", "insdis", "--data_folder", data, "--model", "resnet18", "--image_size", "32", "--nce_k", "4", "--batch_size", "4", "--print_freq", "1",
		"--tb_path=", "--model_path", dir, "--run_name", "run")
	cmd.Env = append(os.Environ(), "CONTRAFLOW_TEST_MAIN=1")
	var text bytes.Buffer
	cmd.Stderr = &text
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 1))
	out.Close()
	cmd.Wait() // its error is the exit code
	if code := cmd.ProcessState.ExitCode(); code != 75 || !strings.Contains(text.String(), "--resume auto") {
		t.Errorf("exit %d: %s", code, &text)
	}
	if code, _, text := command(t, "inspect", filepath.Join(dir, "run")); code != 0 {
		t.Error(text)
	}
}

func TestResumeCommand(t *testing.T) {
	got := resumeCommand([]string{"./contraflow", "train", "cmc", "--data_folder", "it's here", "--tb_path", "", "--resume", "old.pth", "--views=L|ab", "--resume=auto"})
	want := `./contraflow train cmc --data_folder 'it'\''s here' --tb_path '' '--views=L|ab' --resume auto`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
