//go:build !unix

package main

func maxDescriptors() (n int, known bool) { return 0, false }
