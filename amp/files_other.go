//go:build !linux && !darwin

package amp

import (
	"io"
	"os"
)

const canSendFiles = false

func sendFile(io.Writer, byte, *os.File) error { return ErrNoDescriptors }

func fileReader(*Conn, io.Reader) io.Reader { return nil }

func duplicate(*os.File) (*os.File, error) { return nil, ErrNoDescriptors }
