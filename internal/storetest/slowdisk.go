package storetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const slowSync = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int late(const char *name, int fd) {
	const char *text = getenv("SLOW_SYNC_MS");
	int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	usleep(1000 * (text ? atoi(text) : 0));
	return sync(fd);
}

int fsync(int fd) { return late("fsync", fd); }
int fdatasync(int fd) { return late("fdatasync", fd); }
`

// SlowSync returns an environment in which fsync and fdatasync of a program take that
// much longer, as on a slow disk. It puts a library into dir, which the program must be
// able to read. Without a C compiler, the test is skipped.
func SlowSync(t *testing.T, dir string, sync time.Duration) (env []string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("cc is not installed")
		}
		t.Skip("cc is not installed")
	}
	source, library := filepath.Join(t.TempDir(), "slow.c"), filepath.Join(dir, "slow.so")
	if err := os.WriteFile(source, []byte(slowSync), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return append(os.Environ(), "LD_PRELOAD="+library, fmt.Sprint("SLOW_SYNC_MS=", sync.Milliseconds()))
}
