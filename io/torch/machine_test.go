package torch

import (
	"archive/zip"
	"bytes"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/raw"
)

func run(p string) (Value, error) {
	ids := storages{byKey: map[string]*storage{}}
	return newMachine(strings.NewReader(p), int64(len(p)), ids.persist).load()
}

// TestOpcodes runs small programs; the expected values are CPython's pickle.loads.
func TestOpcodes(t *testing.T) {
	for p, want := range map[string]Value{
		"N.": nil, "\x88.": true, "I01\n.": true, "I7\n.": int64(7), "L-8L\n.": int64(-8), "K\xff.": int64(255),
		"M\x00\x01.": int64(256), "J\xff\xff\xff\xff.": int64(-1), "\x8a\x00.": int64(0), "\x8a\x02\x00\xff.": int64(-256),
		"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.":     int64(-1 << 63),
		"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.": new(big.Int).Lsh(big.NewInt(1), 63),
		"G?\xf8\x00\x00\x00\x00\x00\x00.":               1.5, "F1e3\n.": 1000.0,
		"X\x02\x00\x00\x00\xc3\xa9.": "é", "\x8c\x01a.": "a", "U\x01\xe9.": "\xe9", "S'ab'\n.": "ab", "Vab\n.": "ab",
		"C\x02\x00\xff.": []byte{0, 255},
		").":             Tuple(nil), "K\x01\x85.": Tuple{int64(1)}, "K\x01K\x02\x86.": Tuple{int64(1), int64(2)},
		"(K\x01K\x02K\x03t.":           Tuple{int64(1), int64(2), int64(3)},
		"](K\x01K\x02e.":               &List{Items: []Value{int64(1), int64(2)}},
		"]K\x01a.":                     &List{Items: []Value{int64(1)}},
		"}\x8c\x01aK\x01s.":            NewDict(PlainDict).Set("a", int64(1)),
		"}(\x8c\x01aK\x01\x8c\x01bNu.": NewDict(PlainDict).Set("a", int64(1)).Set("b", nil),
		"K\x05q\x070h\x07.":            int64(5),
		"K\x05\x94K\x060h\x00.":        int64(5),
		"K\x01K\x020.":                 int64(1),
		"K\x012\x86.":                  Tuple{int64(1), int64(1)},
		"cargparse\nNamespace\n)\x81}\x8c\x01aK\x01sb.": NewDict(Namespace).Set("a", int64(1)),
		"\x8c\x05torch\x8c\x04Size\x93K\x02\x85\x85R.":  Tuple{int64(2)},
		"ctorch\ndevice\n\x8c\x04cudaK\x01\x86R.":       "cuda:1",
		"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n\x8c\x02i2\x85R(K\x03\x8c\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbC\x02\x01\x02tR.": NumPy{raw.Int16, int64(0x102)},
		"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n\x8c\x02b1\x85RC\x01\x01tR.":                                                                NumPy{raw.Bool, true},
		"ccollections\nOrderedDict\n](](U\x01aK\x01e\x8c\x01bK\x02\x86e\x85R.":                                                                       NewDict(OrderedDict).Set("a", int64(1)).Set("b", int64(2)),
		"(K\x01K\x02l.":       &List{Items: []Value{int64(1), int64(2)}},
		"(K\x01K\x02d.":       NewDict(PlainDict).Set(int64(1), int64(2)),
		"K\x05p9\n0g9\n.":     int64(5),
		"K\x01(K\x02K\x031.":  int64(1),
		"ctorch\nbfloat16\n.": raw.BFloat16,
		"ccollections\ndefaultdict\nc__builtin__\ndict\n\x85R.": NewDict(PlainDict),
	} {
		got, err := run(p)
		if l, ok := want.(Tuple); ok && len(l) == 0 {
			if g, ok := got.(Tuple); ok && len(g) == 0 && err == nil {
				continue
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q = %#v, %v, want %#v", p, got, err, want)
		}
	}
}

func TestMachineRefuses(t *testing.T) {
	deep := strings.Repeat("]", 100) + strings.Repeat("a", 99) + "."
	for name, c := range map[string]struct{ program, want string }{
		"empty":           {"", "truncated"},
		"no stop":         {"N", "truncated"},
		"empty stack":     {".", "more from its stack"},
		"no mark":         {"t.", "more from its stack"},
		"below mark":      {"K\x01(0.", "more from its stack"},
		"tuple past mark": {"K\x01(K\x02\x86.", "more from its stack"},
		"memo":            {"h\x05.", "memo 5 before"},
		"odd dict":        {"}(K\x01u.", "key without a value"},
		"plain state":     {"}}b.", "refused"},
		"list key":        {"}]Ns.", "expected a string or a number"},
		"tuple key":       {"}K\x01\x85Ns.", "expected a string or a number"},
		"append to int":   {"K\x01K\x02a.", "appends to a int64"},
		"set on list":     {"]K\x01K\x02s.", "sets an item of a"},
		"huge string":     {"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "announces"},
		"negative string": {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "announces"},
		"huge long":       {"\x8b\xff\xff\xff\x7f.", "integer of"},
		"not utf-8":       {"\x8c\x01\xff.", "UTF-8"},
		"bad int":         {"I1x\n.", "where an integer belongs"},
		"bad float":       {"F1x\n.", "where a float belongs"},
		"bad quotes":      {"Sabc\n.", "quoted string"},
		"escape":          {"Va\\u0041\n.", "plain text"},
		"pairs":           {"ccollections\nOrderedDict\n](K\x01e\x85R.", "no pair"},
		"factory args":    {"ccollections\ndefaultdict\nNN\x86R.", "at most a factory"},
		"not latin1":      {"c_codecs\nencode\n\x8c\x03\xe2\x82\xac\x8c\x06latin1\x86R.", "U+20AC"},
		"other codec":     {"c_codecs\nencode\n\x8c\x01a\x8c\x05rot13\x86R.", "do not fit"},
		"numpy object":    {"cnumpy\ndtype\n\x8c\x02O8\x85R.", "not supported"},
		"numpy length":    {"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n\x8c\x02f8\x85RC\x01\x01tR.", "1 bytes for a float64"},
		"long line":       {"c" + strings.Repeat("a", 1<<13) + "\n\n.", "line longer"},
		"protocol 6":      {"\x80\x06N.", "newer than 5"},
		"ext":             {"\x82\x01.", "opcode 0x82"},
		"persid text":     {"Pabc\n.", "opcode 0x50"},
		"newobj_ex":       {"\x92.", "opcode 0x92"},
		"next buffer":     {"\x97.", "opcode 0x97"},
		"obj":             {"(ccollections\nOrderedDict\no.", "any class"},
		"inst allowed":    {"(icollections\nOrderedDict\n.", "INST"},
		"call a string":   {"\x8c\x01a)R.", "refused"},
		"call a result":   {"ccollections\nOrderedDict\n)R)R.", "refused"},
		"namespace args":  {"cargparse\nNamespace\nK\x01\x85\x81.", "expected none"},
		"int field":       {"cargparse\nNamespace\n)\x81}K\x01K\x02sb.", "expected a string"},
		"build on string": {"\x8c\x01a}b.", "refused"},
		"global by int":   {"K\x01K\x02\x93.", "names a global by"},
		"torch.load":      {"ctorch\nload\n.", `"torch.load"`},
		"numpy.load":      {"cnumpy\nload\n.", `"numpy.load"`},
		"dotted":          {"\x8c\x05torch\x8c\x0bhub.os.open\x93.", `"torch.hub.os.open"`},
		"module saved":    {"(\x8c\x06moduleNNNtQ.", "whole module"},
		"long strings":    {strings.Repeat("X\x00\x00\x00\x01"+strings.Repeat("a", 1<<24), 5) + ".", "64 MiB"},
		"many objects":    {strings.Repeat("}", 400_000) + ".", "64 MiB"},
		"many marks":      {strings.Repeat("(", 1<<17) + ".", "deeper"},
	} {
		if v, err := run(c.program); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", name, v, err, c.want)
		}
	}
	for name, c := range map[string]struct{ program, want string }{
		"deep":     {deep, "nest or repeat"},
		"cycle":    {"]q\x00h\x00a.", "contains itself"},
		"cycle 2":  {"}q\x00\x8c\x01ah\x00s.", "contains itself"},
		"laughs":   {"]" + strings.Repeat("q\x00]h\x00ah\x00a", 40) + ".", "nest or repeat"},
		"class":    {"ccollections\nOrderedDict\n.", "bare class"},
		"no store": {"ctorch._utils\n_rebuild_tensor\n(ctorch\nSize\nK\x00))tR.", "arguments are not a storage"},
	} {
		b := zipped(t, map[string]string{"a/data.pkl": c.program}, zip.Store)
		if _, err := NewFile(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestMemory runs the programs that make the most of a byte. None may cost much more than the budget.
func TestMemory(t *testing.T) {
	long := "X\x00\x00\x60\x00" + strings.Repeat("a", 6<<20) // 6 MiB of string, in the memo
	for name, p := range map[string]string{
		"lists":      strings.Repeat("]", 16<<20),
		"dicts":      strings.Repeat("}", 16<<20),
		"memo":       "N" + strings.Repeat("\x94", 16<<20),
		"memo apart": "N" + strings.Repeat("r\x01\x02\x03\x04r\x05\x06\x07\x08", 2<<20),
		"items":      "}" + strings.Repeat("G?\xf8\x00\x00\x00\x00\x00\x00Ns", 2<<20),
		"names":      "]" + strings.Repeat("ctorch\nfloat32\na", 1<<20),
		"bytes":      long + "q\x000c_codecs\nencode\nq\x010" + strings.Repeat("h\x01h\x00\x8c\x06latin1\x86R", 1000),
		"devices":    long + "q\x000ctorch\ndevice\nq\x010" + strings.Repeat("h\x01h\x00K\x01\x86R", 1000),
		"scalars":    long + "q\x000cnumpy\ndtype\n\x8c\x02f8\x85Rq\x01cnumpy.core.multiarray\nscalar\nh\x01h\x00\x86R",
		"paths":      "}" + long + "](" + strings.Repeat("N", 100_000) + "es.",
	} {
		b := zipped(t, map[string]string{"a/data.pkl": p}, zip.Store)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := NewFile(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 4*maxBudget {
			t.Errorf("%s: allocated %d MiB, the limit is %d (%v)", name, got>>20, 4*maxBudget>>20, err)
		}
	}
}

func zipped(t testing.TB, records map[string]string, method uint16) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range records {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensorProgram is one float tensor over storage "0" of 8 elements; the shape and what follows come from the case.
func tensorProgram(numel, args string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpu" + numel + "tQ" + args +
		"\x89ccollections\nOrderedDict\n)RtR."
}

// legacyFile is a file before 1.6 with the storage "0"; count is the pickle of its length.
func legacyFile(big, object, count, data string) []byte {
	little := map[string]string{"\x88": "\x89", "\x89": "\x88"}[big]
	b := "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}\x8c\x0dlittle_endian" + little + "s.\x80\x02" + object + "\x80\x02]\x8c\x010a."
	if count != "" {
		b += count[1:] + strings.Repeat("\x00", 7)
	}
	return []byte(b + data)
}

// TestStorageView: files of old versions have storages that are parts of others.
func TestStorageView(t *testing.T) {
	program := func(view string) string {
		return "ctorch._utils\n_rebuild_tensor\n((\x8c\x07storagectorch\nShortStorage\n\x8c\x010\x8c\x03cpuK\x04" + view + "tQK\x00K\x02\x85K\x01\x85tR."
	}
	data := map[string]string{"a/data/0": "\x00\x00\x01\x00\x02\x00\x03\x00"}
	data["a/data.pkl"] = program("(\x8c\x01vK\x01K\x03t")
	b := zipped(t, data, zip.Store)
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := f.Tensors()[0].Float32(); err != nil || !reflect.DeepEqual(v, []float32{1, 2}) {
		t.Errorf("%v, %v, want 1 and 2", v, err)
	}
	for _, view := range []string{"(\x8c\x01vK\x02K\x03t", "(\x8c\x01vJ\xff\xff\xff\xffK\x03t", "(\x8c\x01vK\x05K\x00t", "(\x8c\x01vNNt"} {
		data["a/data.pkl"] = program(view)
		b := zipped(t, data, zip.Store)
		if _, err := NewFile(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), "view outside") {
			t.Errorf("view %q: %v", view, err)
		}
	}
}

func TestContainers(t *testing.T) {
	eight := strings.Repeat("\x00\x00\x80\x3f", 8)
	ok := tensorProgram("K\x08", "K\x00K\x02K\x04\x86K\x04K\x01\x86")
	tar := make([]byte, 512)
	copy(tar[257:], "ustar")
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"good":             {zipped(t, map[string]string{"a/data.pkl": ok, "a/data/0": eight, "a/byteorder": "little"}, zip.Store), ""},
		"empty file":       {nil, "empty"},
		"tar":              {tar, "tar checkpoint"},
		"text":             {[]byte("hello, world, this is no checkpoint"), "neither a zip archive nor a readable pickle"},
		"plain pickle":     {[]byte("\x80\x02}."), "magic number is missing"},
		"big endian":       {zipped(t, map[string]string{"a/data.pkl": ok, "a/data/0": eight, "a/byteorder": "big"}, zip.Store), "byte order"},
		"deflated":         {zipped(t, map[string]string{"a/data.pkl": ok, "a/data/0": eight}, zip.Deflate), "compressed"},
		"no pickle":        {zipped(t, map[string]string{"a/b": ""}, zip.Store), "without a data.pkl"},
		"two pickles":      {zipped(t, map[string]string{"a/data.pkl": ok, "b/data.pkl": ok}, zip.Store), "two objects"},
		"no storage":       {zipped(t, map[string]string{"a/data.pkl": ok}, zip.Store), "lacks the storage"},
		"short storage":    {zipped(t, map[string]string{"a/data.pkl": ok, "a/data/0": eight[4:]}, zip.Store), "28 bytes"},
		"huge storage":     {zipped(t, map[string]string{"a/data.pkl": tensorProgram("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40", "K\x00))"), "a/data/0": eight}, zip.Store), "too large"},
		"negative storage": {zipped(t, map[string]string{"a/data.pkl": tensorProgram("J\xff\xff\xff\xff", "K\x00))"), "a/data/0": eight}, zip.Store), "negative"},
		"negative shape":   {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x00J\xff\xff\xff\xff\x85K\x01\x85"), "a/data/0": eight}, zip.Store), "negative"},
		"negative stride":  {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x07K\x02\x85J\xff\xff\xff\xff\x85"), "a/data/0": eight}, zip.Store), "negative"},
		"wrapping stride":  {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x00K\x05\x85\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40\x85"), "a/data/0": eight}, zip.Store), "leaves the storage"},
		"offset":           {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x01K\x08\x85K\x01\x85"), "a/data/0": eight}, zip.Store), "leaves the storage"},
		"scalar behind":    {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x08))"), "a/data/0": eight}, zip.Store), "leaves the storage"},
		"two sizes":        {zipped(t, map[string]string{"a/data.pkl": strings.TrimSuffix(ok, ".") + tensorProgram("K\x07", "K\x00))"), "a/data/0": eight}, zip.Store), "as 8 elements"},
		"legacy":           {legacyFile("\x89", ok, "K\x08", eight), ""},
		"legacy endian":    {legacyFile("\x88", ok, "", ""), "big-endian"},
		"legacy count":     {legacyFile("\x89", ok, "K\x07", eight), "its tensors say 8"},
		"legacy short":     {legacyFile("\x89", ok, "K\x08", eight[1:]), "truncated"},
		"legacy no count":  {legacyFile("\x89", ok, "", ""), "truncated"},
		"repeat":           {zipped(t, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x00J\x01\x00\x10\x00\x85K\x00\x85"), "a/data/0": eight}, zip.Store), "more elements than its storage"},
	} {
		f, err := NewFile(bytes.NewReader(c.file), int64(len(c.file)))
		if c.want == "" {
			if err != nil || len(f.Tensors()) != 1 {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestDamagedStorage flips a byte of a storage: reading the tensor, or a view of a part, must say so.
func TestDamagedStorage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repositoryGolden, "odd_tensors_zip.pth"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors() {
		if x.Len() == 0 {
			continue
		}
		b[x.s.off] ^= 1
		g, err := NewFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range g.Tensors() {
			if y.Name != x.Name {
				continue
			}
			if _, err := y.Raw(y.Name); err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), y.Name) {
				t.Errorf("%q: %v, want an error that names it", y.Name, err)
			}
		}
		b[x.s.off] ^= 1
	}
}

// FuzzOpen feeds whole files. Whatever opens must read within what the file backs, and write again.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"odd_tensors_zip.pth", "odd_tensors_legacy.pth"} {
		b, err := os.ReadFile(filepath.Join(repositoryGolden, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(zipped(f, map[string]string{"a/data.pkl": tensorProgram("K\x08", "K\x00K\x02K\x04\x86K\x04K\x01\x86"), "a/data/0": strings.Repeat("\x00", 32)}, zip.Store))
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

// FuzzPickle feeds the program alone, inside a sound archive with one storage, so that every mutation is an opcode.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(tensorProgram("K\x08", "K\x00K\x02K\x04\x86K\x04K\x01\x86")))
	for _, p := range []string{
		"}(\x8c\x03optcargparse\nNamespace\n)\x81}(\x8c\x01aG?\xf8\x00\x00\x00\x00\x00\x00\x8c\x01b](K\x01M\x00\x01J\xff\xff\xff\xffeub\x8c\x05epochK\x01u.",
		"}(\x8c\x02lrcnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(\x8c\x02f8K\x00K\x01tR(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbc_codecs\nencode\n(\x8c\x08aaaaaaaa\x8c\x06latin1tR\x86Ru.",
		"ccollections\nOrderedDict\n)R(\x8c\x01aK\x01u}\x8c\x09_metadataccollections\nOrderedDict\n)Rsb.",
		"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05torch\x94\x8c\x04Size\x94\x93\x94K\x02\x85\x85R.",
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		check(t, zipped(t, map[string]string{"a/data.pkl": string(p), "a/data/0": strings.Repeat("\x00", 32)}, zip.Store))
	})
}

func check(t *testing.T, b []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(4*maxBudget+16*len(b)) {
		t.Fatalf("allocated %d MiB for a file of %d bytes", got>>20, len(b))
	}
	if err != nil {
		if strings.Contains(err.Error(), "\n") {
			t.Fatalf("error of more than one line: %q", err)
		}
		return
	}
	total := 0
	readable := true
	for _, x := range f.Tensors() {
		r, err := x.Raw(x.Name)
		if err != nil {
			readable = false
			continue
		}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		total += len(r.Data)
		if total > 16*len(b)+64<<20 {
			break
		}
	}
	f.Checkpoint()
	if !readable {
		return
	}
	var w bytes.Buffer
	if err := Write(&w, f.Root, WriteOptions{}); err != nil {
		return
	}
	if _, err := NewFile(bytes.NewReader(w.Bytes()), int64(w.Len())); err != nil {
		t.Fatalf("what Write wrote does not open: %v", err)
	}
}
