package scripting

import (
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
)

// maySee reports whether a function may look at its argument number n, from 0.
// It is false only of one whose text says that it does not.
func (r *realm) maySee(fn goja.Value, n int) bool {
	text, err := r.fn.textOf(nil, fn)
	return err != nil || maySee(text.String(), n)
}

func maySee(text string, n int) bool {
	code, err := parser.ParseFile(nil, "", "("+text+")", 0, parser.WithDisableSourceMaps)
	if err != nil { // goja's text of () => ({ n: 1 }) lacks the last parenthesis
		code, err = parser.ParseFile(nil, "", "("+text+"))", 0, parser.WithDisableSourceMaps)
	}
	if err != nil || len(code.Body) != 1 {
		return true // a method, or native code
	}
	var parameters *ast.ParameterList
	if statement, ok := code.Body[0].(*ast.ExpressionStatement); ok {
		switch f := statement.Expression.(type) {
		case *ast.ArrowFunctionLiteral:
			parameters = f.ParameterList
		case *ast.FunctionLiteral:
			// An arrow function has no arguments of its own. Those of others may be
			// found by their name, written in any way, or by code that is made.
			if !strings.Contains(text, "arguments") && !strings.Contains(text, "eval") && !strings.Contains(text, `\u`) {
				parameters = f.ParameterList
			}
		}
	}
	return parameters == nil || parameters.Rest != nil || len(parameters.List) > n
}
