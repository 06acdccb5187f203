package sqlrevocation_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/seed450a7203/jwthttp/sqlrevocation"

	"github.com/seed450a7203/jwthttp/internal/storetest"
)

// within polls until ok, or fails the test.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); {
		if time.Since(start) > d {
			t.Fatalf("not within %v: %s", d, what)
		}
		<-time.After(time.Millisecond)
	}
}

// sqliteFile is the address of a database in a folder of the test.
func sqliteFile(t testing.TB) string {
	return "file:" + filepath.Join(t.TempDir(), "revocations.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)"
}

func connect(t testing.TB, driver, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// instance is a Store with a separate pool, which ends with it.
type instance struct {
	*sqlrevocation.Store
	db *sql.DB
}

func (i instance) Wait() {
	i.Store.Wait()
	_ = i.db.Close()
}

func openInstance(ctx context.Context, driver, address string, opts sqlrevocation.Options) (instance, error) {
	db, err := sql.Open(driver, address)
	if err != nil {
		return instance{}, err
	}
	s, err := sqlrevocation.Open(ctx, db, opts)
	if err != nil {
		_ = db.Close()
		return instance{}, err
	}
	return instance{s, db}, nil
}

// server is a PostgreSQL server for tests.
type server struct {
	bin, data string
	port      int
	account   *syscall.SysProcAttr
	env       []string // nil means that of the test
	process   *exec.Cmd
	tables    atomic.Int64
}

// postgres is the server of all tests, started by the first that needs it.
var postgres *server

func TestMain(m *testing.M) {
	if os.Getenv(writerEnv) != "" {
		writeUntilKilled()
		return
	}
	code := m.Run()
	if postgres != nil {
		postgres.kill()
		_ = os.RemoveAll(filepath.Dir(postgres.data))
	}
	os.Exit(code)
}

func startPostgres(t testing.TB) *server {
	t.Helper()
	if postgres != nil {
		return postgres
	}
	bin := postgresPrograms()
	if bin == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL's initdb is missing")
		}
		t.Skip("PostgreSQL's initdb is missing")
	}
	// Not t.TempDir: it outlives this test, and root's is closed to others.
	dir, err := os.MkdirTemp("", "sqlrevocation")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{bin: bin, data: filepath.Join(dir, "data"), account: &syscall.SysProcAttr{}}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		s.account.Credential = credential(t, "postgres")
		if err := os.Chown(dir, int(s.account.Credential.Uid), int(s.account.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := s.command("initdb", "-D", s.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.port = freePort(t)
	s.start(t)
	postgres = s
	return s
}

func freePort(t testing.TB) int {
	_, text, _ := net.SplitHostPort(storetest.FreeAddr(t))
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// standby starts a standby of s, and the test's end stops it.
func (s *server) standby(t testing.TB) *server {
	t.Helper()
	port := freePort(t)
	c := &server{bin: s.bin, data: filepath.Join(filepath.Dir(s.data), fmt.Sprint("standby_", port)), port: port, account: s.account}
	backup := s.command("pg_basebackup", "-D", c.data, "-R", "-c", "fast", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres", "--no-sync")
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.data) })
	c.start(t)
	t.Cleanup(c.kill)
	return c
}

// promote makes a standby a primary.
func (s *server) promote(t testing.TB) {
	t.Helper()
	if out, err := s.command("pg_ctl", "promote", "-D", s.data).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func postgresPrograms() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // the other programs are next to the real one
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's, not in PATH
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

func credential(t testing.TB, name string) *syscall.Credential {
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = filepath.Dir(s.data)
	cmd.SysProcAttr = s.account
	return cmd
}

// start returns when the server takes connections.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.process = s.command("postgres", "-D", s.data, "-p", strconv.Itoa(s.port), "-h", "127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "recovery_init_sync_method=syncfs")
	log, err := os.Create(s.data + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.process.Env = s.env
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	db := connect(t, "pgx", s.address(s.target()))
	defer func() { _ = db.Close() }()
	for start := time.Now(); db.Ping() != nil; <-time.After(5 * time.Millisecond) {
		if time.Since(start) > soon {
			s.kill()
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("PostgreSQL does not start:\n%s", text)
		}
	}
}

// kill ends the server as a crash of it does: all of its processes, with SIGKILL.
// They are no process group, each has its own. It may be called again.
func (s *server) kill() {
	if s.process.ProcessState != nil {
		return
	}
	pid := s.process.Process.Pid
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no others
	others := children(pid)
	for _, child := range others {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_ = s.process.Wait()
	for _, child := range others { // the next server cannot start before
		for state, _, err := processState(child); err == nil && state != "Z"; state, _, err = processState(child) {
			<-time.After(time.Millisecond)
		}
	}
}

func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if _, ppid, err := processState(pid); err == nil && ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processState returns an error if the process has ended. Its state is Z if it has ended
// and its parent has not asked for that.
func processState(pid int) (state string, parent int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	_, err = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent)
	return state, parent, err
}

func (s *server) target() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// address is the one of the server, through target.
func (s *server) address(target string, settings ...string) string {
	query := url.Values{"sslmode": {"disable"}}
	for i := 0; i < len(settings); i += 2 {
		query.Set(settings[i], settings[i+1])
	}
	return "postgres://postgres@" + target + "/postgres?" + query.Encode()
}

// table is a name that no other test has.
func (s *server) table() string { return fmt.Sprint("revocations_", s.tables.Add(1)) }
