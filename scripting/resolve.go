package scripting

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// virtualNamespace is where esbuild keeps modules that are no files.
const virtualNamespace = "amphost"

// setup teaches esbuild to read files through in, and the virtual modules.
func (in *inputs) setup(b api.PluginBuild) {
	b.OnLoad(api.OnLoadOptions{Filter: ".", Namespace: "file"}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
		data, err := in.load(args.Path)
		if err != nil {
			return api.OnLoadResult{Errors: []api.Message{{Text: err.Error(), Location: &api.Location{File: args.Path}}}}, nil
		}
		text := string(data)
		loader, known := b.InitialOptions.Loader[filepath.Ext(args.Path)]
		if !known {
			loader = api.LoaderDefault
		}
		if args.With["type"] == "json" {
			loader = api.LoaderJSON
		} else if args.With["type"] == "text" {
			loader = api.LoaderText
		}
		return api.OnLoadResult{Contents: &text, ResolveDir: filepath.Dir(args.Path), Loader: loader}, nil
	})

	names := map[string]string{"amphost": virtualModule("amphost", moduleExports)}
	for _, m := range in.modules {
		names[m.Name] = virtualModule(m.Name, slices.Sorted(maps.Keys(m.Exports)))
	}
	b.OnResolve(api.OnResolveOptions{Filter: `^\.`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
		if !strings.Contains(args.Importer, "node_modules") {
			in.ask(args.ResolveDir, args.Path)
		}
		return api.OnResolveResult{}, nil
	})
	b.OnResolve(api.OnResolveOptions{Filter: `^(https?:)?//`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
		return api.OnResolveResult{}, notImportable(args.Path) // esbuild would leave it to the runtime
	})
	virtual := func(args api.OnResolveArgs) (api.OnResolveResult, error) {
		if _, ok := names[args.Path]; ok {
			return api.OnResolveResult{Path: args.Path, Namespace: virtualNamespace}, nil
		}
		if strings.HasPrefix(args.Path, "amphost/") {
			return api.OnResolveResult{}, fmt.Errorf("there is no module %q: everything is in \"amphost\"", args.Path)
		}
		if args.Kind != api.ResolveEntryPoint && args.ResolveDir != "" {
			in.ask(args.ResolveDir, args.Path)
		}
		name := strings.TrimPrefix(args.Path, "node:")
		if _, ok := shims[name]; ok {
			// A package of that name, if one is installed, knows more.
			if args.PluginData != retried && !strings.HasPrefix(args.Path, "node:") && args.ResolveDir != "" {
				found := b.Resolve(args.Path, api.ResolveOptions{Importer: args.Importer, ResolveDir: args.ResolveDir, Kind: args.Kind, PluginData: retried})
				if len(found.Errors) == 0 && !found.External && found.Path != "" {
					return api.OnResolveResult{Path: found.Path, Namespace: found.Namespace}, nil
				}
			} else if args.PluginData == retried {
				return api.OnResolveResult{}, nil
			}
			return api.OnResolveResult{Path: name, Namespace: virtualNamespace}, nil
		}
		return api.OnResolveResult{}, nil
	}
	b.OnResolve(api.OnResolveOptions{Filter: `^[^./]`}, virtual)
	b.OnLoad(api.OnLoadOptions{Filter: ".", Namespace: virtualNamespace}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
		text, ok := names[args.Path]
		if !ok {
			text = shims[args.Path]
		}
		return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
	})
}

// retried marks a resolution that virtual itself asked for.
const retried = "amphost: retried"

// virtualModule is the text of a module whose exports the host provides. They
// are listed one by one, so that a misspelt import is found by the build.
func virtualModule(name string, exports []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "const m = %s[%s];\n", hostName, strconv.Quote(name))
	if name != "amphost" {
		fmt.Fprintf(&b, "if (m === undefined) throw new TypeError(%s);\n", strconv.Quote(name+" was built with and is not among the modules of this runtime: Options.Modules"))
	}
	if !slices.Contains(exports, "default") {
		b.WriteString("export default m;\n")
	}
	for i, e := range exports {
		fmt.Fprintf(&b, "const e%d = m[%s];\nexport { e%d as %s };\n", i, strconv.Quote(e), i, strconv.Quote(e))
	}
	return b.String()
}

// shims stand in for the few modules of Node that packages import for what
// plugins have as globals anyway.
var shims = map[string]string{
	"buffer": "export const Buffer = globalThis.Buffer;\nexport const kMaxLength = 2 ** 31;\nexport const constants = { MAX_LENGTH: kMaxLength };\nexport default { Buffer, kMaxLength, constants };\n",
	"timers": "const { setTimeout: a, clearTimeout: b, setInterval: c, clearInterval: d, setImmediate: e, clearImmediate: f } = globalThis;\n" +
		"export { a as setTimeout, b as clearTimeout, c as setInterval, d as clearInterval, e as setImmediate, f as clearImmediate };\n",
	"url": "const { URL: U, URLSearchParams: S } = globalThis;\nexport { U as URL, S as URLSearchParams };\nexport default { URL: U, URLSearchParams: S };\n",
	"crypto": "const c = globalThis.crypto;\nexport const webcrypto = c;\nexport const randomUUID = () => c.randomUUID();\n" +
		"export const getRandomValues = (a) => c.getRandomValues(a);\nexport const timingSafeEqual = (a, b) => c.timingSafeEqual(a, b);\nexport const subtle = c.subtle;\n" +
		"export const randomBytes = (n) => Buffer.from(c.getRandomValues(new Uint8Array(n)));\n" +
		"export const randomFillSync = (a) => c.getRandomValues(a);\nexport default { webcrypto, randomUUID, getRandomValues, timingSafeEqual, subtle, randomBytes, randomFillSync };\n",
	"perf_hooks": "export const performance = globalThis.performance;\nexport default { performance };\n",
	"events":     eventsShim,
	"util": "export const inspect = globalThis.console.inspect, format = inspect.format;\n" +
		"export const promisify = (f) => (...a) => new Promise((ok, no) => f(...a, (e, v) => (e ? no(e) : ok(v))));\n" +
		"export const inherits = (c, s) => { Object.setPrototypeOf(c.prototype, s.prototype); Object.setPrototypeOf(c, s); };\n" +
		"const { TextEncoder: E, TextDecoder: D } = globalThis;\nexport { E as TextEncoder, D as TextDecoder };\nexport const types = {};\n" +
		"export const deprecate = (f) => f;\nexport const debuglog = () => () => {};\nexport default { inspect, format, promisify, inherits, deprecate, debuglog, types, TextEncoder: E, TextDecoder: D };\n",
}

// eventsShim is Node's EventEmitter, without its rarer half.
const eventsShim = `export class EventEmitter {
  #on = new Map();
  on(name, fn) { const l = this.#on.get(name); l ? l.push(fn) : this.#on.set(name, [fn]); return this; }
  addListener(name, fn) { return this.on(name, fn); }
  prependListener(name, fn) { const l = this.#on.get(name); l ? l.unshift(fn) : this.#on.set(name, [fn]); return this; }
  once(name, fn) { const f = (...a) => { this.off(name, f); fn.apply(this, a); }; f.listener = fn; return this.on(name, f); }
  off(name, fn) { const l = this.#on.get(name); const i = l ? l.findIndex((f) => f === fn || f.listener === fn) : -1; if (i >= 0) this.#on.set(name, l.toSpliced(i, 1)); return this; }
  removeListener(name, fn) { return this.off(name, fn); }
  removeAllListeners(name) { name === undefined ? this.#on.clear() : this.#on.delete(name); return this; }
  emit(name, ...a) {
    const l = this.#on.get(name);
    if (!l?.length) { if (name === "error") throw a[0] instanceof Error ? a[0] : new Error("Unhandled error: " + a[0]); return false; }
    for (const f of [...l]) f.apply(this, a);
    return true;
  }
  listeners(name) { return (this.#on.get(name) ?? []).map((f) => f.listener ?? f); }
  listenerCount(name) { return this.#on.get(name)?.length ?? 0; }
  eventNames() { return [...this.#on.keys()]; }
  setMaxListeners() { return this; }
}
EventEmitter.EventEmitter = EventEmitter;
export const once = (e, name) => new Promise((ok, no) => { e.once(name, (...a) => ok(a)); if (name !== "error") e.once("error", no); });
export default EventEmitter;
`

// unavailable says of Node's modules that plugins can't have what to use instead.
var unavailable = map[string]string{
	"fs":             "plugins have no file system: keep files with amp.store.update((tx) => tx.files.write(name, data))",
	"net":            "plugins have no sockets: use amp.connect for AMP, amp.dial for raw bytes",
	"tls":            "plugins have no sockets: use amp.connect(\"tls://…\")",
	"http":           "plugins have no HTTP of Node's: use fetch",
	"https":          "plugins have no HTTP of Node's: use fetch",
	"http2":          "plugins have no HTTP of Node's: use fetch",
	"dgram":          "plugins have no sockets",
	"dns":            "plugins have no name service",
	"child_process":  "plugins start no processes",
	"cluster":        "plugins start no processes: export const plugin = { workers: n }",
	"worker_threads": "plugins start no threads: export const plugin = { workers: n }",
	"os":             "plugins do not see the machine",
	"path":           "plugins have no file system; npm's path-browserify joins and splits paths",
	"process":        "plugins do not see the process: amp.env has what the operator allows of the environment",
	"stream":         "plugins have no streams of Node's",
	"zlib":           "plugins have no zlib of Node's; npm's fflate works",
	"assert":         "plugins have no assert of Node's: throw new Error(…)",
	"readline":       "plugins have no terminal",
	"tty":            "plugins have no terminal",
	"module":         "plugins are bundled: there is nothing to load later",
	"vm":             "plugins evaluate no text",
	"v8":             "plugins do not run on V8",
	"string_decoder": "use TextDecoder with { stream: true }",
	"querystring":    "use URLSearchParams",
	"punycode":       "install npm's punycode",
	"async_hooks":    "plugins have no async_hooks",
	"inspector":      "plugins have no inspector",
	"repl":           "plugins have no terminal",
}

var notResolved = regexp.MustCompile(`^Could not resolve "((?:node:)?([^"]+))"`)

var noExport = regexp.MustCompile(`^(?:Import "(\w+)" will always be undefined because there is no|No) matching export in "amphost:amphost"(?: for import "(\w+)")?`)

// explain returns the text and the notes of a message of esbuild's, in words
// that help somebody who writes a plugin.
func explain(m api.Message) (text string, notes []string) {
	if strings.HasPrefix(m.Text, "Top-level await is ") {
		return "await at the top level is not supported: put it into amp.onLoad(async () => { … }), which is awaited before the plugin serves", nil
	}
	if strings.HasPrefix(m.Text, `"import.meta" is not available`) {
		return "import.meta is empty here: a plugin has no URL", nil
	}
	if found := noExport.FindStringSubmatch(m.Text); found != nil {
		missing := found[1] + found[2]
		text = fmt.Sprintf("there is no %q in amphost", missing)
		for _, name := range moduleExports {
			if strings.EqualFold(name, missing) {
				text += fmt.Sprintf(", but %q", name)
			}
		}
		return text, nil
	}
	if found := notResolved.FindStringSubmatch(m.Text); found != nil {
		name, _, _ := strings.Cut(found[2], "/")
		_, shim := shims[name]
		why, ok := unavailable[name]
		switch {
		case ok:
			return fmt.Sprintf("Node's module %q is not here: %s", found[1], why), nil
		case shim, strings.HasPrefix(found[1], "node:"):
			return fmt.Sprintf("Node's module %q is not here: plugins run without Node; docs/language.md says what they have", found[1]), nil
		case strings.Contains(found[1], ":"):
			return notImportable(found[1]).Error(), nil
		}
		if !strings.HasPrefix(found[1], ".") && !strings.HasPrefix(found[1], "/") {
			return m.Text, []string{fmt.Sprintf("a package is installed beside the plugins: npm install %s", packageOf(found[1]))}
		}
		return m.Text, nil
	}
	for _, n := range m.Notes {
		if n.Text != "" && n.Location == nil {
			notes = append(notes, n.Text)
		}
	}
	return m.Text, notes
}

// notImportable says what can be imported instead of a URL.
func notImportable(path string) error {
	return fmt.Errorf("%q can't be imported: only files and packages of npm can, which are installed beside the plugins with npm install", path)
}

// packageOf returns the package that an import path belongs to.
func packageOf(path string) string {
	parts := strings.SplitN(path, "/", 3)
	if strings.HasPrefix(path, "@") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// missing returns the absolute paths that imports asked for in vain.
func (in *inputs) missing(dir string, list []api.Message) []string {
	var paths []string
	for _, m := range list {
		found := notResolved.FindStringSubmatch(m.Text)
		if found == nil || m.Location == nil {
			continue
		}
		from := m.Location.File
		if !filepath.IsAbs(from) {
			from = filepath.Join(dir, from)
		}
		from = filepath.Dir(from)
		if strings.HasPrefix(found[1], ".") {
			paths = append(paths, filepath.Join(from, found[1]))
			continue
		}
		// A package may appear in any node_modules on the way up.
		for {
			modules := filepath.Join(from, "node_modules")
			if _, err := os.Stat(modules); err == nil || from == dir {
				paths = append(paths, filepath.Join(modules, packageOf(found[1])))
			}
			parent := filepath.Dir(from)
			if parent == from {
				break
			}
			from = parent
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
