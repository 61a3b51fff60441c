package scripting

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
	"github.com/evanw/esbuild/pkg/api"
)

// A Program is a built plugin: one script, made of the plugin's files. It is
// immutable and bound to no runtime, so it may be started many times, by
// several goroutines.
type Program struct {
	Name     string    // the plugin's name: its file's or folder's
	Path     string    // the entry file, absolute; "" if it was built from text
	Files    []string  // the files it was built from, absolute and sorted
	Hash     string    // changes when the contents of a file do; hexadecimal
	Warnings []Message // what the build found odd

	code    *goja.Program
	sources sources
	stamps  stamps
	sums    map[string][sha256.Size]byte // of the files

	bundle atomic.Pointer[bundle] // nil once it is kept elsewhere

	regexpSets bool // it needs prelude/regexp.js
}

// exportsName is the global variable that a bundle leaves its exports in.
const exportsName = "__amphost_exports"

// Build bundles the plugin at path: a script, or a folder with an index
// script. It imports from the modules given besides "amphost".
//
// An error is a *BuildError that has every message with file, line and column,
// and the files that a change of may mend it; or says that path is no plugin.
func Build(path string, modules ...Module) (*Program, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name, entry, err := pluginAt(abs)
	if err != nil {
		return nil, err
	}
	opts := buildOptions(filepath.Dir(entry))
	opts.EntryPoints = []string{entry}
	return build(name, entry, opts, modules)
}

// BuildSource builds a plugin that is one file, given as text. It is
// TypeScript if name ends in ".ts", else JavaScript; the plugin's name is name
// without an extension.
func BuildSource(name, source string, modules ...Module) (*Program, error) {
	file := name
	loader := api.LoaderJS
	switch ext := filepath.Ext(name); ext {
	case ".ts":
		loader = api.LoaderTS
		name = strings.TrimSuffix(name, ext)
	case ".js", ".mjs", ".cjs":
		name = strings.TrimSuffix(name, ext)
	default:
		file = name + ".js"
	}
	if !ValidName(name) {
		return nil, fmt.Errorf("%q is not a plugin's name: %s", name, nameRule)
	}
	if err := checkSource(file, []byte(source)); err != nil {
		return nil, &BuildError{Name: name, Messages: []Message{{File: file, Text: err.Error()}}}
	}
	opts := buildOptions("/")
	opts.Stdin = &api.StdinOptions{Contents: source, Sourcefile: file, Loader: loader}
	return build(name, "", opts, modules)
}

// buildOptions are esbuild's options for a bundle that goja can run.
func buildOptions(dir string) api.BuildOptions {
	return api.BuildOptions{
		AbsWorkingDir: dir,
		// Beside the entry, so that the names in the source map are right.
		Outfile: filepath.Join(dir, "amphost.out.js"),

		Bundle:     true,
		Format:     api.FormatIIFE, // no wrapper line, so no shifted positions
		GlobalName: exportsName,
		Platform:   api.PlatformBrowser,
		MainFields: []string{"module", "browser", "main"},
		Conditions: []string{"amphost", "module", "import"},
		Loader: map[string]api.Loader{
			".js": api.LoaderJS, ".mjs": api.LoaderJS, ".cjs": api.LoaderJS, ".jsx": api.LoaderJSX,
			".ts": api.LoaderTS, ".mts": api.LoaderTS, ".cts": api.LoaderTS, ".tsx": api.LoaderTSX,
			".json": api.LoaderJSON,
			".txt":  api.LoaderText, ".md": api.LoaderText, ".html": api.LoaderText, ".sql": api.LoaderText, ".pem": api.LoaderText,
			".bin": api.LoaderBinary,
		},
		ResolveExtensions: []string{".ts", ".mts", ".tsx", ".mjs", ".js", ".cjs", ".jsx", ".cts", ".json"},

		// What goja can't parse is lowered.
		Target: api.ESNext,
		Supported: map[string]bool{
			"async-generator": false, "for-await": false, "top-level-await": false,
			"dynamic-import": false, "import-meta": false, "using": false, "decorators": false,
			"regexp-set-notation": false, "regexp-match-indices": false,
			"from-base64": false, "inline-script": false,
		},
		// goja counts columns in bytes, source maps in UTF-16 units: in a
		// bundle of ASCII they agree.
		Charset:     api.CharsetASCII,
		TsconfigRaw: `{"compilerOptions":{"target":"ESNext","useDefineForClassFields":true}}`,
		Define:      map[string]string{"process.env.NODE_ENV": `"production"`, "global": "globalThis"},
		TreeShaking: api.TreeShakingTrue,

		Metafile:       true,
		Sourcemap:      api.SourceMapExternal,
		SourcesContent: api.SourcesContentInclude,
		LegalComments:  api.LegalCommentsNone,
		LogLevel:       api.LogLevelSilent,
		LogLimit:       0,
	}
}

// build runs esbuild and compiles what it made.
func build(name, entry string, opts api.BuildOptions, modules []Module) (*Program, error) {
	in := &inputs{modules: modules, files: make(map[string][sha256.Size]byte), stamps: make(stamps), asked: make(map[string]bool)}
	if entry != "" {
		in.stamps[entry] = stampOf(entry) // the file that is read is behind it, if it is a symbolic link
	}
	if opts.Stdin != nil {
		in.files["\x00stdin"] = sha256.Sum256([]byte(opts.Stdin.Contents))
	}
	opts.Plugins = []api.Plugin{{Name: "amphost", Setup: in.setup}}
	result := api.Build(opts)
	in.stampLinks()

	fail := func(messages []Message) error {
		return &BuildError{
			Name: name, Files: in.paths(), Missing: in.missing(opts.AbsWorkingDir, result.Errors), Hash: in.hash(entry), Messages: messages,
			stamps: in.stamps,
		}
	}
	if len(result.Errors) > 0 {
		return nil, fail(messagesOf(result.Errors, opts.AbsWorkingDir))
	}
	code, mapping := outputOf(result)
	if len(code) > maxBundle {
		return nil, fail([]Message{{File: displayPath(entry), Text: fmt.Sprintf("the plugin has %d bytes with all that it imports, at most %d are run", len(code), maxBundle)}})
	}
	src, mapping, err := newSources(mapping, opts.AbsWorkingDir)
	if err != nil {
		return nil, fail([]Message{{File: displayPath(entry), Text: "source map: " + err.Error()}})
	}
	prog, warnings, err := compile(code, mapping, isStrict(result.Metafile))
	if err != nil {
		return nil, fail([]Message{refused(err, entry, src)})
	}
	built := &Program{
		Name:     name,
		Path:     entry,
		Files:    in.paths(),
		Hash:     in.hash(entry),
		Warnings: append(messagesOf(result.Warnings, opts.AbsWorkingDir), warnings...),
		code:     prog,
		sources:  src,
		stamps:   in.stamps,
		sums:     in.files,

		regexpSets: usesRegExpSets(code),
	}
	built.bundle.Store(&bundle{Code: code, Mapping: mapping, Strict: isStrict(result.Metafile)})
	return built, nil
}

// outputOf returns the script and its source map.
func outputOf(result api.BuildResult) (code string, mapping []byte) {
	for _, f := range result.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			mapping = f.Contents
		} else {
			code = string(f.Contents)
		}
	}
	return code, mapping
}

// lastRune is an escape that goja's parser panics on. An odd number of
// backslashes makes it one.
var lastRune = regexp.MustCompile(`\\+u\{10FFFF\}`)

// isStrict reports whether a bundle is made of ES modules only, whose code is
// strict. esbuild puts all files into one scope and leaves the directive out:
// CommonJS, and a script that neither imports nor exports, may be sloppy and
// rely on it.
func isStrict(metafile string) bool {
	var m struct {
		Inputs map[string]struct {
			Format string
			Bytes  int
		}
	}
	if err := json.Unmarshal([]byte(metafile), &m); err != nil {
		return false
	}
	for name, in := range m.Inputs {
		ext := filepath.Ext(name)
		if in.Format == "cjs" || in.Format == "" && in.Bytes > 0 && (ext == ".js" || ext == ".cjs" || ext == ".jsx") {
			return false
		}
	}
	return true
}

// refused words what esbuild has accepted and goja has not, with its place.
func refused(err error, entry string, src sources) Message {
	var syntax *goja.CompilerSyntaxError
	if !errors.As(err, &syntax) || syntax.File == nil {
		return Message{File: displayPath(entry), Text: err.Error()}
	}
	p := syntax.File.Position(syntax.Offset)
	m := Message{Text: "SyntaxError: " + syntax.Message, Line: p.Line, Column: p.Column, Notes: []string{"the engine does not have this; docs/language.md says what it has"}}
	file := cleanName(p.Filename)
	if lines := strings.Split(src[file], "\n"); p.Line >= 1 && p.Line <= len(lines) {
		m.lineText = strings.TrimRight(lines[p.Line-1], "\r")
	}
	m.File = displayPath(file)
	return m
}

// compile compiles a bundle with its source map, and never reads a file.
func compile(code string, mapping []byte, strict bool) (prog *goja.Program, warnings []Message, err error) {
	defer func() {
		if x := recover(); x != nil { // a mistake of goja's must not end the process
			err = fmt.Errorf("it can't be parsed: %v", x)
		}
	}()
	code = lastRune.ReplaceAllStringFunc(code, func(escape string) string {
		if backslashes := len(escape) - len("u{10FFFF}"); backslashes%2 == 0 {
			return escape
		}
		return strings.TrimSuffix(escape, "u{10FFFF}") + `uDBFF\uDFFF`
	})
	// The name is absolute so that goja keeps the map's absolute names.
	const bundleName = "/amphost.bundle.js"
	ast, err := goja.Parse(bundleName, code+"\n//# sourceMappingURL=amphost.map\n",
		parser.WithSourceMapLoader(func(string) ([]byte, error) { return mapping, nil }))
	if err != nil {
		return nil, nil, err
	}
	if strings.Contains(code, `\p{`) || strings.Contains(code, `\P{`) || groupName.MatchString(code) {
		warnings = expandLiterals(ast)
	}
	guardOperators(ast, code)
	prog, err = goja.CompileAST(ast, strict)
	return prog, warnings, err
}

// inputs are the files that one build reads.
type inputs struct {
	modules []Module

	mu     sync.Mutex                   // esbuild loads files in several goroutines; guards the fields below
	files  map[string][sha256.Size]byte // by absolute path
	stamps stamps
	asked  map[string]bool // what imports say, absolute; see stampLinks
}

// load reads a file for esbuild.
func (in *inputs) load(path string) ([]byte, error) {
	data, s, err := readStamped(path)
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	in.files[path] = sha256.Sum256(data)
	in.stamps[path] = s
	in.mu.Unlock()
	return data, checkSource(path, data)
}

// ask notes what an import says, from a file in the directory dir.
func (in *inputs) ask(dir, path string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if strings.HasPrefix(path, ".") {
		in.asked[filepath.Join(dir, path)] = true
		return
	}
	// The packages that dir has, and none has yet.
	for name := packageOf(path); dir != ""; {
		pkg := filepath.Join(dir, "node_modules", name, "package.json")
		if in.asked[pkg] {
			return
		}
		if _, err := os.Stat(pkg); err == nil {
			in.asked[pkg] = true
			return
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return
		}
		dir = parent
	}
}

// stampLinks stamps what decides which files are read, besides these: the
// package.json of packages, and the symbolic links on the way.
func (in *inputs) stampLinks() {
	for path := range in.asked {
		if filepath.Base(path) != "package.json" {
			if path = withExtension(path); path == "" {
				continue
			}
			if real, err := filepath.EvalSymlinks(path); err != nil || real == path {
				continue
			}
		}
		if _, ok := in.stamps[path]; !ok {
			in.stamps[path] = stampOf(path)
		}
	}
}

// paths returns the files read, sorted.
func (in *inputs) paths() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	paths := make([]string, 0, len(in.files))
	for path := range in.files {
		if filepath.IsAbs(path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// hash tells apart what was read, by contents, and names as seen from the
// entry: where the plugins lie does not matter, for a deployment may be a new
// directory each time.
func (in *inputs) hash(entry string) string {
	if real, err := filepath.EvalSymlinks(entry); err == nil {
		entry = real
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	paths := make([]string, 0, len(in.files))
	for path := range in.files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	h := sha256.New()
	for _, path := range paths {
		sum := in.files[path]
		if rel, err := filepath.Rel(filepath.Dir(entry), path); err == nil {
			path = rel
		}
		fmt.Fprintf(h, "%s\x00%x\n", path, sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// A Message is one thing that a build has to say.
type Message struct {
	File   string // as shown: relative to the working directory where it is below it; "" if none
	Line   int    // from 1; 0 if none
	Column int    // from 1, in bytes
	Text   string
	Notes  []string

	lineText string
	length   int
}

// String returns "file:line:column: text".
func (m Message) String() string {
	switch {
	case m.File == "":
		return m.Text
	case m.Line == 0:
		return m.File + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
}

// A BuildError is what is wrong with a plugin's files: all that was found, not
// only the first.
type BuildError struct {
	Name     string    // the plugin
	Messages []Message // at least one
	Files    []string  // the files read before it failed, absolute and sorted
	Missing  []string  // paths that were looked for and not found, absolute
	Hash     string    // of the files read

	stamps stamps
}

// Error returns every message with a code frame, without colour.
func (e *BuildError) Error() string { return e.Format(false) }

// Format returns every message with a code frame under it, as several lines
// without a newline at the end, in colours of a terminal if asked for.
func (e *BuildError) Format(color bool) string {
	opts := api.FormatMessagesOptions{Kind: api.ErrorMessage, Color: color}
	var frames []string
	for _, m := range e.Messages {
		one := api.Message{Text: m.Text}
		if m.File != "" {
			one.Location = &api.Location{File: m.File, Line: m.Line, Column: max(0, m.Column-1), Length: m.length, LineText: m.lineText}
		}
		for _, n := range m.Notes {
			one.Notes = append(one.Notes, api.Note{Text: n})
		}
		frame := strings.Join(api.FormatMessages([]api.Message{one}, opts), "")
		if m.Column > 0 { // esbuild counts from 0
			frame = strings.Replace(frame, fmt.Sprintf("%s:%d:%d:", m.File, m.Line, m.Column-1), fmt.Sprintf("%s:%d:%d:", m.File, m.Line, m.Column), 1)
		}
		frames = append(frames, frame)
	}
	return strings.TrimRight(strings.Join(frames, ""), "\n")
}

// messagesOf translates esbuild's messages, whose files are relative to dir.
func messagesOf(list []api.Message, dir string) []Message {
	out := make([]Message, 0, len(list))
	for _, m := range list {
		text, notes := explain(m)
		msg := Message{Text: text, Notes: notes}
		if loc := m.Location; loc != nil {
			msg.File, msg.Line, msg.Column = loc.File, loc.Line, loc.Column+1
			msg.lineText, msg.length = loc.LineText, loc.Length
			if !strings.Contains(loc.File, ":") && dir != "/" {
				if !filepath.IsAbs(loc.File) {
					msg.File = filepath.Join(dir, loc.File)
				}
				msg.File = displayPath(msg.File)
			}
		}
		out = append(out, msg)
	}
	return out
}

// displayPath shortens a path below the working directory for people.
func displayPath(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// Bounds of a file of a plugin, and of all that it is made of, in bytes.
const (
	maxSource = 4 << 20
	maxBundle = 64 << 20
)

// checkSource refuses what would kill the process in a parser.
func checkSource(path string, data []byte) error {
	if len(data) > maxSource {
		return fmt.Errorf("the file has %d bytes, a plugin's file has at most %d", len(data), maxSource)
	}
	switch filepath.Ext(path) {
	case ".txt", ".md", ".html", ".sql", ".pem", ".bin":
		return nil // which nobody parses
	}
	return tooDeep(data)
}

// ErrNoPlugin says that a path holds no plugin: no script, and no folder with
// an index script.
var ErrNoPlugin = errors.New("not a plugin: neither a .js, .mjs, .cjs or .ts file nor a folder with an index script")

// moduleExports are the names that "amphost" exports.
var moduleExports = []string{
	"Command", "ProtocolSwitchCommand", "QuitBox", "Box",
	"Integer", "Float", "Boolean", "Unicode", "String", "Decimal", "DateTime", "Path", "ListOf", "AmpList", "DateTimeValue",
	"RemoteAmpError", "UnhandledCommand", "ConnectionLost", "TimeoutError", "FileExistsError",
	"onLoad", "onUnload", "onConnect", "onDisconnect", "unhandled", "authorize", "protocol", "boxReceiver", "connect", "dial", "hot", "peers", "peerState", "call", "store", "plugin", "password", "env", "args", "exit", "listen",
}
