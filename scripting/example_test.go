package scripting_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/scripting"
)

// A plugin runs without a network.
func ExampleStart() {
	prog, err := scripting.BuildSource("math", `
		import * as amp from "amphost";
		const Sum = new amp.Command("Sum", {
			arguments: { a: amp.Integer(), b: amp.Integer() },
			response: { total: amp.Integer() },
		});
		Sum.responder(({ a, b }) => ({ total: a + b }));
	`)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	plugin, err := scripting.Start(ctx, prog, &scripting.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = plugin.Stop(ctx) }()

	fmt.Println(plugin.Commands()[0])
	answer, err := amp.Ask(ctx, plugin, "Sum", amp.Box{"a": []byte("13"), "b": []byte("81")})
	fmt.Printf("%s %v\n", answer["total"], err)
	// Output:
	// Sum(a Integer, b Integer) → total Integer
	// 94 <nil>
}

// An embedding program adds a module that plugins import.
func ExampleModule() {
	users := scripting.Module{Name: "myapp/users", Exports: map[string]any{
		"lookup": func(args []any) (any, error) {
			return map[string]any{"name": args[0], "admin": true}, nil
		},
	}}
	prog, err := scripting.BuildSource("greeter", `
		import * as amp from "amphost";
		import { lookup } from "myapp/users";
		new amp.Command("Greet", { response: { text: amp.Unicode() } })
			.responder(() => ({ text: JSON.stringify(lookup("ada")) }));
	`, users)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	plugin, err := scripting.Start(ctx, prog, &scripting.Options{Modules: []scripting.Module{users}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = plugin.Stop(ctx) }()
	answer, err := amp.Ask(ctx, plugin, "Greet", nil)
	fmt.Printf("%s %v\n", answer["text"], err)
	// Output: {"admin":true,"name":"ada"} <nil>
}
