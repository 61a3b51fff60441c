// Package scripting runs JavaScript and TypeScript plugins that answer AMP
// commands, and replaces them as their files change.
//
// A [Program] is a built plugin, immutable. [Start] makes a [Plugin] of it: one
// running generation, whose runtimes are each owned by one goroutine, its loop.
// A [Dir] keeps the plugins of a directory running. Plugin and Dir are
// amp.Handlers, so scripts run without a network through amp.Ask.
//
// Only its loop touches a runtime and the values that came from it. All else
// passes Go data to the loop and returns; nothing blocks a connection's reader
// or a loop. A loop takes requests in the order they were handed over, and
// between two awaits of a script nothing else of the plugin runs.
//
// This is no sandbox. A runtime has no memory limit, and some built-in
// functions can't be interrupted: plugins are code that is trusted not to mean
// harm. They have no access to files, processes or the network but through
// what the host gives them.
package scripting
