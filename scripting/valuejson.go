package scripting

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// What JSON has no form for is an object with one key that begins with "$":
//
//	{"$number": "NaN"}        NaN, Infinity, -Infinity
//	{"$bigint": "123"}
//	{"$bytes": "aGk="}        base64
//	{"$date": "2026-11-22T10:00:00.000Z"}, or milliseconds, or null if invalid
//	{"$datetime": "2026-11-22T10:00:00.000000+05:30"}, or
//	{"$datetime": [milliseconds or null, microsecond, offset]}
//	{"$object": {"$date": 1}}  an object that would look like one of these

// ValueJSON returns what a script has stored under a key as one line of JSON,
// in which values that JSON lacks are objects with one key such as "$bigint".
// ParseValueJSON reads it.
func ValueJSON(stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, errDamaged
	}
	if stored[0] != formVersion {
		return nil, fmt.Errorf("the stored value has form %d, which this amphost is too old for", stored[0])
	}
	j := jsonWriter{valueReader: valueReader{data: stored[1:]}}
	err := j.value(0)
	if err == nil && len(j.data) > 0 {
		err = errDamaged
	}
	return j.out, err
}

// A jsonWriter makes JSON of a stored value, without a runtime.
type jsonWriter struct {
	valueReader
	out []byte
}

func (j *jsonWriter) value(depth int) error {
	if len(j.data) == 0 || depth > maxValueDepth {
		return errDamaged
	}
	tag := j.data[0]
	j.data = j.data[1:]
	switch tag {
	case tagNull:
		j.out = append(j.out, "null"...)
		return nil
	case tagTrue, tagFalse:
		j.out = strconv.AppendBool(j.out, tag == tagTrue)
		return nil
	case tagInteger:
		n, err := j.varint()
		if n < -maxSafe || n > maxSafe {
			return errDamaged
		}
		j.out = strconv.AppendInt(j.out, n, 10)
		return err
	case tagNumber:
		f, err := j.float()
		switch {
		case math.IsNaN(f):
			j.special("number", "NaN")
		case math.IsInf(f, 0):
			j.special("number", strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+")+"inity")
		case f == 0 && math.Signbit(f):
			j.out = append(j.out, "-0"...)
		case f == math.Trunc(f):
			// With an exponent, or it would look as if all its digits counted.
			j.out = strconv.AppendFloat(j.out, f, 'e', -1, 64)
		default:
			j.out = strconv.AppendFloat(j.out, f, 'g', -1, 64)
		}
		return err
	case tagString:
		s, err := j.text()
		j.string(s)
		return err
	case tagBytes:
		b, err := j.bytes()
		j.special("bytes", base64.StdEncoding.EncodeToString(b))
		return err
	case tagBigInt:
		n, err := j.bigInt()
		if err == nil {
			j.special("bigint", n.String())
		}
		return err
	case tagDate:
		ms, err := j.float()
		switch at := time.UnixMilli(int64(ms)).UTC(); {
		case math.IsNaN(ms):
			j.special("date", nil)
		case at.Year() >= 0 && at.Year() <= 9999 && math.Abs(ms) < 1e15:
			j.special("date", at.Format("2006-01-02T15:04:05.000Z"))
		default:
			j.special("date", ms)
		}
		return err
	case tagDateTime:
		return j.dateTime()
	case tagArray:
		return j.array(depth)
	case tagObject:
		return j.object(depth)
	}
	return errDamaged
}

func (j *jsonWriter) string(s string) { j.out = appendJSON(j.out, s) }

// special appends an object with one key.
func (j *jsonWriter) special(kind string, v any) {
	j.out = append(j.out, `{"$`+kind+`":`...)
	j.out = append(appendJSON(j.out, v), '}')
}

// appendJSON appends what always has a form.
func appendJSON(dst []byte, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	must(e.Encode(v))
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func (j *jsonWriter) dateTime() error {
	ms, err := j.varint()
	if err != nil {
		return err
	}
	us, err := j.uvarint()
	if err != nil {
		return err
	}
	offset, err := j.varint()
	if err != nil {
		return err
	}
	if us > 999 || offset <= -24*60 || offset >= 24*60 {
		return errDamaged
	}
	at := time.UnixMilli(ms).Add(time.Duration(us) * time.Microsecond).In(time.FixedZone("", int(offset)*60))
	switch {
	case ms == invalidDate:
		j.special("datetime", []any{nil, us, offset})
	case at.Year() < 0 || at.Year() > 9999:
		j.special("datetime", []any{ms, us, offset})
	default:
		j.special("datetime", at.Format(dateTimeLayout))
	}
	return nil
}

const dateTimeLayout = "2006-01-02T15:04:05.000000-07:00"

func (j *jsonWriter) array(depth int) error {
	n, err := j.count()
	if err != nil {
		return err
	}
	j.out = append(j.out, '[')
	for i := range n {
		if i > 0 {
			j.out = append(j.out, ',')
		}
		if err := j.value(depth + 1); err != nil {
			return err
		}
	}
	j.out = append(j.out, ']')
	return nil
}

func (j *jsonWriter) object(depth int) error {
	n, err := j.count()
	if err != nil {
		return err
	}
	start := len(j.out)
	j.out = append(j.out, '{')
	special := false
	for i := range n {
		key, err := j.text()
		if err != nil {
			return err
		}
		special = n == 1 && strings.HasPrefix(key, "$")
		if i > 0 {
			j.out = append(j.out, ',')
		}
		j.string(key)
		j.out = append(j.out, ':')
		if err := j.value(depth + 1); err != nil {
			return err
		}
	}
	j.out = append(j.out, '}')
	if special {
		inner := string(j.out[start:])
		j.out = append(append(append(j.out[:start], `{"$object":`...), inner...), '}')
	}
	return nil
}

// ParseValueJSON returns the stored form of a value in JSON, such as ValueJSON
// makes. A script then reads it as if it had stored it.
func ParseValueJSON(text []byte) ([]byte, error) {
	p := jsonReader{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	token, err := p.token()
	if err == nil {
		p.out, err = p.value([]byte{formVersion}, token, 0)
	}
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the value")
	}
	return p.out, nil
}

// A jsonReader makes a stored value of JSON.
type jsonReader struct {
	dec *json.Decoder
	out []byte
}

func (p *jsonReader) token() (json.Token, error) {
	token, err := p.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the value is not whole")
	}
	return token, err
}

// value appends the stored form of the value that begins with token.
func (p *jsonReader) value(dst []byte, token json.Token, depth int) ([]byte, error) {
	if depth > maxValueDepth {
		return nil, fmt.Errorf("it nests deeper than %d levels", maxValueDepth)
	}
	switch v := token.(type) {
	case nil:
		return append(dst, tagNull), nil
	case bool:
		if v {
			return append(dst, tagTrue), nil
		}
		return append(dst, tagFalse), nil
	case string:
		return appendText(append(dst, tagString), v), nil
	case json.Number:
		return appendNumber(dst, v.String())
	case json.Delim:
		if v == '[' {
			return p.array(dst, depth)
		}
		if v == '{' {
			return p.object(dst, depth)
		}
	}
	return nil, fmt.Errorf("%v is out of place", token)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, tag byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tag), math.Float64bits(f))
}

func appendNumber(dst []byte, text string) ([]byte, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is too large", text)
	}
	if f != math.Trunc(f) || f == 0 && math.Signbit(f) {
		return appendFloat(dst, tagNumber, f), nil
	}
	if math.Abs(f) <= maxSafe {
		return binary.AppendVarint(append(dst, tagInteger), int64(f)), nil
	}
	if !strings.ContainsAny(text, ".eE") {
		return nil, fmt.Errorf(`the number %s has more digits than a number keeps: write {"$bigint":%q}, or with an exponent`, text, text)
	}
	return appendFloat(dst, tagNumber, f), nil
}

func (p *jsonReader) array(dst []byte, depth int) ([]byte, error) {
	n := 0
	var body []byte
	for {
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		if token == json.Delim(']') {
			return append(binary.AppendUvarint(append(dst, tagArray), uint64(n)), body...), nil
		}
		if body, err = p.value(body, token, depth+1); err != nil {
			return nil, err
		}
		n++
	}
}

func (p *jsonReader) object(dst []byte, depth int) ([]byte, error) {
	names := make(map[string]bool)
	var body []byte
	for {
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return append(binary.AppendUvarint(append(dst, tagObject), uint64(len(names))), body...), nil
		}
		if names[name] {
			return nil, fmt.Errorf("the property %q is there twice", name)
		}
		first := len(names) == 0
		names[name] = true
		if token, err = p.token(); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, "$") || !first {
			body = appendText(body, name)
			if body, err = p.value(body, token, depth+1); err != nil {
				return nil, err
			}
			continue
		}
		// It may be one of ours, which shows when the object ends.
		var raw []byte
		if name == "$object" {
			// What is in it is an object as it is.
			if token != json.Delim('{') {
				return nil, errors.New(`"$object" takes an object`)
			}
			if raw, err = p.plain(depth + 1); err != nil {
				return nil, err
			}
		} else if raw, err = p.value(nil, token, depth+1); err != nil {
			return nil, err
		}
		if p.dec.More() {
			body = append(appendText(body, name), raw...)
			continue
		}
		if _, err := p.token(); err != nil { // the }
			return nil, err
		}
		special, err := specialValue(name, raw)
		return append(dst, special...), err
	}
}

// plain reads the rest of an object whose properties are all its own.
func (p *jsonReader) plain(depth int) ([]byte, error) {
	names := make(map[string]bool)
	var body []byte
	for {
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return append(binary.AppendUvarint([]byte{tagObject}, uint64(len(names))), body...), nil
		}
		if names[name] {
			return nil, fmt.Errorf("the property %q is there twice", name)
		}
		names[name] = true
		if token, err = p.token(); err != nil {
			return nil, err
		}
		if body, err = p.value(appendText(body, name), token, depth+1); err != nil {
			return nil, err
		}
	}
}

// specialValue returns the stored form of an object with one key that begins
// with "$", given the stored form of what is in it.
func specialValue(name string, raw []byte) ([]byte, error) {
	d := valueReader{data: raw[1:]}
	text, isText := "", raw[0] == tagString
	if isText {
		text, _ = d.text()
	}
	bad := fmt.Errorf("%q: can't read what is in it", name)
	switch {
	case name == "$object":
		return raw, nil
	case name == "$number" && isText:
		for special, f := range map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)} {
			if text == special {
				return appendFloat(nil, tagNumber, f), nil
			}
		}
		return nil, bad
	case name == "$bigint" && isText:
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return nil, bad
		}
		return appendBigInt(nil, n), nil
	case name == "$bytes" && isText:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, bad
		}
		return appendText([]byte{tagBytes}, string(b)), nil
	case name == "$date":
		switch {
		case raw[0] == tagNull:
			return appendFloat(nil, tagDate, math.NaN()), nil
		case raw[0] == tagInteger:
			ms, err := d.varint()
			return appendFloat(nil, tagDate, float64(ms)), err
		case isText:
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return nil, bad
			}
			return appendFloat(nil, tagDate, float64(at.UnixMilli())), nil
		}
	case name == "$datetime" && isText:
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, bad
		}
		_, offset := at.Zone()
		return appendDateTime(nil, at.UnixMilli(), int64(at.Nanosecond()/1000%1000), int64(offset/60)), nil
	case name == "$datetime" && raw[0] == tagArray:
		return dateTimeParts(d, bad)
	}
	return nil, fmt.Errorf(`%q is none of amphost's: an object that has just this key is written {"$object":{%q:…}}`, name, name)
}

// dateTimeParts reads [milliseconds or null, microsecond, offset].
func dateTimeParts(d valueReader, bad error) ([]byte, error) {
	if n, err := d.count(); err != nil || n != 3 {
		return nil, bad
	}
	parts := [3]int64{invalidDate}
	for i := range parts {
		if len(d.data) == 0 {
			return nil, bad
		}
		tag := d.data[0]
		d.data = d.data[1:]
		if tag == tagNull && i == 0 {
			continue
		}
		n, err := d.varint()
		if tag != tagInteger || err != nil {
			return nil, bad
		}
		parts[i] = n
	}
	if parts[1] < 0 || parts[1] > 999 || parts[2] <= -24*60 || parts[2] >= 24*60 {
		return nil, bad
	}
	return appendDateTime(nil, parts[0], parts[1], parts[2]), nil
}
