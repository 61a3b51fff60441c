package main

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/spf13/pflag"
)

// configSchema is a JSON schema (draft 7, which TOML's language servers know)
// of the configuration file.
func configSchema() map[string]any {
	properties := make(map[string]any)
	newServeFlags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		if key == "" {
			return
		}
		_, usage := pflag.UnquoteUsage(f)
		p := map[string]any{"description": usage}
		switch _, list := f.Value.(repeated); {
		case list && f.Name == "store-quota":
			p["type"] = []string{"string", "integer", "array"}
			p["items"] = map[string]any{"type": "string"}
		case list:
			p["type"] = "array"
			p["items"] = map[string]any{"type": "string"}
		case f.Value.Type() == "bool":
			p["type"], p["default"] = "boolean", f.DefValue == "true"
		case f.Value.Type() == "uint16":
			p["type"], p["minimum"], p["maximum"], p["default"] = "integer", 0, 65535, json.Number(f.DefValue)
		case f.Value.Type() == "duration":
			d, _ := time.ParseDuration(f.DefValue)
			p["type"], p["pattern"], p["default"] = "string", `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, d.String()
		default:
			p["type"] = "string"
			if f.DefValue != "" {
				p["default"] = f.DefValue
			}
			if c, ok := f.Value.(interface{ choices() []string }); ok {
				p["enum"] = c.choices()
			}
		}
		properties[key] = p
	})
	texts := map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	with := func(schema map[string]any, description string) map[string]any {
		schema = maps.Clone(schema)
		schema["description"] = description
		return schema
	}
	listener := map[string]any{"address": map[string]any{"type": "string", "description": "host:port, tls://host:port, unix:PATH or systemd:NAME"}}
	for key, what := range listenerKeys {
		switch key {
		case "plugins", "allow", "refuse":
			listener[key] = with(texts, what)
		case "strict":
			listener[key] = map[string]any{"type": "boolean", "description": what}
		default:
			listener[key] = map[string]any{"type": "string", "description": what}
		}
	}
	listener["client"] = map[string]any{
		"type":        "object",
		"description": "What clients may call whose certificate has that name.",
		"additionalProperties": map[string]any{
			"type": "object", "additionalProperties": false,
			"properties": map[string]any{"allow": texts, "refuse": texts},
		},
	}
	properties["listener"] = map[string]any{
		"type":        "array",
		"description": "Where connections are accepted, and what they are for.",
		"items":       map[string]any{"type": "object", "properties": listener, "required": []string{"address"}, "additionalProperties": false},
	}
	limitProperties := make(map[string]any)
	for name, k := range knownLimits {
		limitProperties[name] = map[string]any{"type": []string{"string", "integer"}, "description": k.about, "default": k.fallback}
	}
	properties["limits"] = map[string]any{
		"type": "object", "description": "Limits: numbers, bytes such as \"4MiB\", durations such as \"10s\", or \"off\".",
		"properties": limitProperties, "additionalProperties": false,
	}
	properties["plugins"] = map[string]any{
		"type":        "object",
		"description": "A table for each plugin, which the plugin sees as amp.plugin.config.",
		"additionalProperties": map[string]any{
			"type": "object",
			"properties": map[string]any{
				"net":         with(texts, "Where the plugin may connect to: host:port, *.host:port, *:*, 10.0.0.0/8:port or unix:path."),
				"env":         with(texts, "Which variables of the environment the plugin may read."),
				"store-quota": map[string]any{"type": []string{"string", "integer"}, "description": "How many bytes the plugin may keep, as in \"64MiB\"."},
			},
		},
	}
	return map[string]any{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"title":                "amphost.toml",
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
	}
}
