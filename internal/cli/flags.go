package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// duration is a flag: a length of time, not negative; 0 means no limit.
type duration time.Duration

// String implements pflag.Value.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Set implements pflag.Value.
func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if n, nerr := strconv.ParseUint(s, 10, 31); nerr == nil {
		v, err = time.Duration(n)*time.Second, nil // seconds, as timeout(1) takes them
	}
	if err != nil || v < 0 {
		return errors.New("expected a length of time such as 500ms, 5s or 2m")
	}
	*d = duration(v)
	return nil
}

// Type implements pflag.Value.
func (*duration) Type() string { return "duration" }

// count is a flag: a whole number from 0 to 2147483647.
type count int

// String implements pflag.Value.
func (c *count) String() string { return strconv.Itoa(int(*c)) }

// Set implements pflag.Value.
func (c *count) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("expected a whole number from 0 to %d", math.MaxInt32)
	}
	*c = count(n)
	return nil
}

// Type implements pflag.Value.
func (*count) Type() string { return "number" }

// offset is a flag: a place in a stream of bytes.
type offset uint64

// String implements pflag.Value.
func (o *offset) String() string { return strconv.FormatUint(uint64(*o), 10) }

// Set implements pflag.Value.
func (o *offset) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return errors.New("expected a number of bytes, from 0 on")
	}
	*o = offset(n)
	return nil
}

// Type implements pflag.Value.
func (*offset) Type() string { return "offset" }

// format is the -o flag.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if format(s) != formatText && format(s) != formatJSON {
		return errors.New("expected text or json")
	}
	*f = format(s)
	return nil
}

// Type implements pflag.Value.
func (*format) Type() string { return "format" }

// flagError puts what pflag says in our words.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown):
		return usageErrorf(cmd, "there is no flag %s", dashes(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()))
	case errors.As(err, &missing):
		return usageErrorf(cmd, "%s needs a value", dashes(missing.GetSpecifiedName(), missing.GetSpecifiedShortnames()))
	case errors.As(err, &invalid):
		why := invalid.Unwrap().Error()
		if invalid.GetFlag().Value.Type() == "bool" {
			why = "expected true or false"
		}
		name := "--" + invalid.GetFlag().Name
		if short := invalid.GetFlag().Shorthand; short != "" {
			name = "-" + short // as the helps have it
		}
		return usageErrorf(cmd, "%s %q: %s", name, invalid.GetValue(), why)
	}
	return usageErrorf(cmd, "the flags are written wrongly")
}

// dashes spells a flag as it was given: as -x out of a group, or as --name.
func dashes(name, group string) string {
	if group != "" {
		return fmt.Sprintf("-%c", name[0])
	}
	return "--" + name
}
