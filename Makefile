# jit-sudo. `make` builds, `make install` installs; `make help` lists the rest.

PREFIX     ?= /usr
SYSCONFDIR ?= /etc
STATEDIR   ?= /var/lib/jit-sudo
DESTDIR    ?=
# `dev` builds faster and checks more; `release` is the profile to install.
PROFILE    ?= release

BINDIR     := $(PREFIX)/bin
LIBEXECDIR := $(PREFIX)/libexec/jit-sudo
SERVICES   := $(LIBEXECDIR)/pam.d
MANDIR     := $(PREFIX)/share/man
BASHCOMP   := $(PREFIX)/share/bash-completion/completions
ZSHCOMP    := $(PREFIX)/share/zsh/vendor-completions
FISHCOMP   := $(PREFIX)/share/fish/vendor_completions.d
# Where libpam looks for modules: below the directory of the architecture on Debian; else lib64 or lib.
MULTIARCH  := $(shell $(or $(CC),cc) -print-multiarch 2>/dev/null)
PAMDIR     ?= $(PREFIX)/$(or $(addprefix lib/,$(MULTIARCH)),$(if $(wildcard /usr/lib64/security),lib64,lib))/security

CARGO      ?= $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo),$(wildcard /root/.cargo/bin/cargo),cargo)
TARGET     := $(or $(CARGO_TARGET_DIR),target)
BUILT      := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BINARIES   := $(addprefix $(BUILT)/,jit-sudo jit-sudo-broker jit-sudo-enforcer jit-sudo-hooks jit-sudo-compile jit-sudo-shrink jitctl libpam_jit_sudo.so)
MANPAGES   := $(wildcard docs/man/*.[1-8])
# Most tests wait for something: a clock, a prompt, the end of a grant.
TEST_THREADS ?= $(shell expr 3 '*' $$(nproc))

all: build

help:
	@echo 'make                builds the programs and the PAM module'
	@echo 'make install        installs them: DESTDIR= PREFIX=/usr SYSCONFDIR=/etc'
	@echo 'make uninstall      removes them; keeps policy, state and evidence'
	@echo 'make deb            builds packages for Debian and Ubuntu; make rpm: for Fedora and RHEL; make package-test: tests them'
	@echo 'make demo           shows the main use case in a private root; changes nothing on this host'
	@echo 'make demo-shell     starts a shell as alice in such a root'
	@echo 'make test           runs every test      make check: the same with fmt, clippy, docs'
	@echo 'make typos          checks spelling with typos (from PyPI, installed below the target directory); part of make check'
	@echo 'make deny           checks licences, bans and sources of crates with cargo-deny (compiled once); make advisories also needs GitHub'
	@echo 'make msrv           compiles with the Rust version that Cargo.toml declares; part of make check where it is available'
	@echo 'make man            writes the generated parts of the manual pages'
	@echo 'make book           builds the manual and the manual pages as web pages in target/book'
	@echo 'make ansible        runs Ansible playbooks (from PyPI, installed below the target directory) through jit-sudo and sudo'
	@echo 'make recording-cost measures the cost of a recording beside sudo'"'"'s'
	@echo 'make bench          measures a run beside sudo and doas'
	@echo 'make crowd          starts 1,000 runs at once by 10 users: prints how many fail, how long they take'
	@echo 'make siege          one hostile user attacks in every way at once; measures the runs of another user (SECONDS=)'
	@echo 'make soak           kills 10,000 runs with SIGKILL at random moments, and checks that no record is lost'
	@echo 'make million        verifies, exports and lists 1,000,000 records'
	@echo 'make differential   compares jit-sudo with sudo; SUDO=trixie: with that of Debian 13'
	@echo 'make import-compare converts 5,000 generated sudoers files, and compares the decisions with sudo'"'"'s (FILES= SEED=)'
	@echo 'make import-corpus  converts sudoers files in the style of real ones, and compares the decisions with sudo'"'"'s'
	@echo 'make journals       verifies 1,000 random journals, half of them damaged, with jitctl and with a second implementation'
	@echo 'make past           measures how long each verb of jitctl takes with 100,000 past grants'
	@echo 'make kills          kills runs at each of their system calls'
	@echo 'make trials         starts 1,000 runs that try at random to outlive their grants (TRIALS= SEED=)'
	@echo 'make flips          tests 2,000,000 random bit flips in signed data'
	@echo 'make contained      counts the lines that jit-sudo, the broker and jit-sudo-compile contain'
	@echo 'make figures        counts lines, long files and type names that are declared twice'
	@echo 'make fuzz           fuzzes each reader of untrusted bytes with libFuzzer (SECONDS= TARGETS=); make fuzz-check: compiles it'

# The paths are compiled into the programs, so that a caller cannot change them. The sources contain the default paths.
ifneq ($(PREFIX) $(SYSCONFDIR) $(STATEDIR),/usr /etc /var/lib/jit-sudo)
export JIT_SUDO_SYSCONFDIR   := $(SYSCONFDIR)/jit-sudo
export JIT_SUDO_HOOKSDIR     := $(SYSCONFDIR)/jit-sudo/hooks.d
export JIT_SUDO_STATEDIR     := $(STATEDIR)
export JIT_SUDO_PROGRAM      := $(BINDIR)/jit-sudo
export JIT_SUDO_BROKER       := $(LIBEXECDIR)/jit-sudo-broker
export JIT_SUDO_ENFORCER     := $(LIBEXECDIR)/jit-sudo-enforcer
export JIT_SUDO_HOOK_RUNNER  := $(LIBEXECDIR)/jit-sudo-hooks
export JIT_SUDO_COMPILER     := $(LIBEXECDIR)/jit-sudo-compile
export JIT_SUDO_SHRINKER     := $(LIBEXECDIR)/jit-sudo-shrink
export JIT_SUDO_KEY_SEALER   := $(LIBEXECDIR)/jit-sudo-host-key
export JIT_SUDO_PAM_SERVICES := $(SERVICES)
endif

# In two: one build has one form of the pure crate, and the privileged programs have the one that reads no TOML.
build:
	$(CARGO) build --locked --profile $(PROFILE) -p jit-sudo -p jit-sudo-shrink -p pam_jit_sudo
	$(CARGO) build --locked --profile $(PROFILE) -p jitctl -p jit-sudo-compile

# Only if one is missing: after `make`, `sudo make install` compiles nothing as root.
$(BINARIES):
	$(MAKE) build

# --- install -----------------------------------------------------------------------------------------------------------

SETUID := install -m 4755
CONFIG := packaging/install-config

install: $(BINARIES)
	@grep -qF '$(LIBEXECDIR)/jit-sudo-broker' $(BUILT)/jitctl && grep -qF '$(SYSCONFDIR)/jit-sudo' $(BUILT)/jit-sudo && \
	    grep -qF '$(STATEDIR)' $(BUILT)/jit-sudo || \
	    { echo 'the programs in $(BUILT) were built for other directories; run `make` with the same PREFIX, SYSCONFDIR and STATEDIR first'; exit 1; }
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(SYSCONFDIR)/pam.d
	install -d -m 711 $(DESTDIR)$(SYSCONFDIR)/jit-sudo
	install -d -m 700 $(DESTDIR)$(SYSCONFDIR)/jit-sudo/policy.d
	install -d -m 711 $(DESTDIR)$(SYSCONFDIR)/jit-sudo/hooks.d
	install -d -m 700 $(DESTDIR)$(STATEDIR)
	$(SETUID) $(BUILT)/jit-sudo $(DESTDIR)$(BINDIR)/jit-sudo
	$(SETUID) $(BUILT)/jit-sudo-broker $(DESTDIR)$(LIBEXECDIR)/jit-sudo-broker
	ln -sf jit-sudo $(DESTDIR)$(BINDIR)/jit-sudoedit
	install -m 755 $(BUILT)/jit-sudo-enforcer $(DESTDIR)$(LIBEXECDIR)/jit-sudo-enforcer
	install -m 755 $(BUILT)/jit-sudo-hooks $(DESTDIR)$(LIBEXECDIR)/jit-sudo-hooks
	install -m 755 $(BUILT)/jit-sudo-compile $(DESTDIR)$(LIBEXECDIR)/jit-sudo-compile
	install -m 755 $(BUILT)/jit-sudo-shrink $(DESTDIR)$(LIBEXECDIR)/jit-sudo-shrink
	sed 's|^state=/var/lib/jit-sudo$$|state=$(STATEDIR)|' packaging/host-key >$(DESTDIR)$(LIBEXECDIR)/jit-sudo-host-key
	chmod 755 $(DESTDIR)$(LIBEXECDIR)/jit-sudo-host-key
	install -m 755 $(BUILT)/jitctl $(DESTDIR)$(BINDIR)/jitctl
	install -D -m 644 $(BUILT)/libpam_jit_sudo.so $(DESTDIR)$(PAMDIR)/pam_jit_sudo.so
	$(CONFIG) 640 etc/policy.toml $(DESTDIR)$(SYSCONFDIR)/jit-sudo/policy.toml
	$(CONFIG) 644 etc/pam.d/jit-sudo $(DESTDIR)$(SYSCONFDIR)/pam.d/jit-sudo
	$(CONFIG) 644 etc/pam.d/jit-sudo-i $(DESTDIR)$(SYSCONFDIR)/pam.d/jit-sudo-i
	install -d $(DESTDIR)$(SERVICES)
	install -m 644 etc/pam.d/other $(DESTDIR)$(SERVICES)/other
	ln -sf $(addprefix $(SYSCONFDIR)/pam.d/,jit-sudo jit-sudo-i) $(DESTDIR)$(SERVICES)
	for page in $(MANPAGES); do \
	    install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; \
	done
	ln -sf jit-sudo.8 $(DESTDIR)$(MANDIR)/man8/jit-sudoedit.8
	install -d $(addprefix $(DESTDIR),$(BASHCOMP) $(ZSHCOMP) $(FISHCOMP))
	for program in jitctl jit-sudo; do \
	    complete() { $(BUILT)/jitctl completion $$1 --program $$program >$(DESTDIR)$$2 && chmod 644 $(DESTDIR)$$2; }; \
	    complete bash $(BASHCOMP)/$$program && complete zsh $(ZSHCOMP)/_$$program && \
	    complete fish $(FISHCOMP)/$$program.fish || exit; \
	done
ifeq ($(DESTDIR),)
# A host that was retired gets no other key by that.
	@if [ "$$(id -u)" = 0 ]; then \
	    packaging/hooks-user && \
	    if [ ! -e /var/lib/jit-sudo/journal.db ] || [ -e /var/lib/jit-sudo/host_key ] || [ -e /var/lib/jit-sudo/host_key.sealed ]; then $(BINDIR)/jitctl key init; fi; \
	fi
endif

uninstall:
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,jit-sudo jit-sudoedit jitctl) $(addprefix $(DESTDIR)$(LIBEXECDIR)/,jit-sudo-broker jit-sudo-enforcer jit-sudo-hooks jit-sudo-compile jit-sudo-shrink jit-sudo-host-key)
	rm -f $(foreach name,jitctl jit-sudo,$(addprefix $(DESTDIR),$(BASHCOMP)/$(name) $(ZSHCOMP)/_$(name) $(FISHCOMP)/$(name).fish))
	rm -f $(addprefix $(DESTDIR)$(SERVICES)/,jit-sudo jit-sudo-i other)
	rm -f $(DESTDIR)$(PAMDIR)/pam_jit_sudo.so
	-rmdir $(DESTDIR)$(SERVICES) $(DESTDIR)$(LIBEXECDIR)
	rm -f $(DESTDIR)$(MANDIR)/man8/jit-sudoedit.8 $(foreach page,$(MANPAGES),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))
	@echo 'kept, because they are policy and evidence: $(DESTDIR)$(SYSCONFDIR)/jit-sudo, $(DESTDIR)$(SYSCONFDIR)/pam.d/jit-sudo*,'
	@echo '$(DESTDIR)$(STATEDIR); remove them by hand when you no longer need them. The user jit-sudo-hooks also stays: another'
	@echo 'account with its uid would own the files that hooks have left behind'

# --- packages ----------------------------------------------------------------------------------------------------------

deb rpm: package-deps
	packaging/package $@

# Tests the packages in Debian 12 and 13, Ubuntu 24.04 and on a booted systemd, and the rpm in an empty root. Takes some minutes.
package-test: package-deps
	packaging/test

package-deps:
	packaging/deps package

# --- try, test, measure ------------------------------------------------------------------------------------------------

# These need root for the namespaces of the private root; see tests/private-root.
TRY = $(CARGO) run --quiet --locked -p harness --bin

demo: deps build
	PROFILE=$(PROFILE) $(TRY) demo

demo-shell: deps build
	PROFILE=$(PROFILE) tests/private-root demo-shell

bench: deps build
	OLD='$(OLD)' OLD_TARGET='$(OLD_TARGET)' PROFILE=$(PROFILE) $(TRY) bench

# Exits with 1 where a run fails, or more than one in a hundred takes longer than 2 s.
crowd: deps build
	PROFILE=$(PROFILE) $(TRY) crowd

# Takes ten minutes; SECONDS=60 for a quick try. Exits with 1 where another user's runs fail or are too slow, or the budget is
# exceeded.
siege: deps build
	PROFILE=$(PROFILE) $(TRY) siege

past: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed past:: -- --nocapture

# Takes a few minutes; the ordinary tests try 20,000.
flips:
	$(CARGO) test --quiet --locked -p jit-sudo --lib two_million_damaged -- --ignored

# The lines that the programs contain, after the linker has removed what they do not use.
contained:
	$(CARGO) build --locked -p jit-sudo --bin jit-sudo --bin jit-sudo-broker --target-dir $(TARGET)/contained --config 'profile.dev.opt-level=0' --config 'profile.dev.debug="line-tables-only"'
	$(CARGO) build --locked -p jit-sudo-compile --target-dir $(TARGET)/contained --config 'profile.dev.opt-level=0' --config 'profile.dev.debug="line-tables-only"'
	for program in jit-sudo jit-sudo-broker jit-sudo-compile; do \
	    echo $$program; python3 tests/contained.py $(TARGET)/contained/debug/$$program || exit; \
	done

figures:
	python3 tests/figures.py

# Runs each target for SECONDS, 60 by default; TARGETS='argv policy' selects some. Needs a nightly compiler and cargo-fuzz.
fuzz:
	CARGO='$(CARGO)' fuzz/run $(or $(SECONDS),60) $(TARGETS)

# Type-checks the targets with the ordinary compiler. Not their tests: those of included sources run with the product.
fuzz-check:
	CARGO_TARGET_DIR=fuzz/target $(CARGO) check --quiet --locked --manifest-path fuzz/Cargo.toml --bins --examples

# Takes a few minutes; KILLS=1000 for a quick try. The ordinary tests kill a few dozen.
soak: deps build
	PROFILE=$(PROFILE) $(TRY) soak

# Measures the cost of recording a session beside sudo's log_output. Needs a quiet machine and some minutes.
recording-cost: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed recording_cost:: -- --ignored --nocapture

# Verifies, exports and lists a journal of 1,000,000 records. Needs 5 GB and some minutes.
million: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed a_million_records -- --ignored --nocapture

# Creates random journals with the installed product; both checkers must agree on each. Takes a minute or two.
journals: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed a_thousand_random_journals -- --ignored --nocapture

# Kills runs, changes of the epoch, backups and prunings at each of their system calls, one after the other. Takes some twenty minutes.
kills: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed a_kill_at_each_system_call -- --ignored --nocapture

# Runs that try to outlive their grants. Takes half an hour. TRIALS= SEED=
trials: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed a_thousand_runs -- --ignored --nocapture

ansible: deps build $(TARGET)/ansible
	$(CARGO) test --locked --test installed ansible:: -- --ignored

$(TARGET)/ansible:
	/usr/bin/python3 -m venv $@.new
	$@.new/bin/python3 -m pip install --quiet --disable-pip-version-check 'ansible-core==2.18.*'
	mv $@.new $@

# The comparisons with sudo: with this machine's, or with that of the Debian in SUDO, in a root of that Debian, which is made
# once. Where it cannot be made, one line says so, and nothing is compared.
differential: deps build
	if [ -n '$(SUDO)' ]; then \
	    SYSTEM=$$(packaging/reference '$(SUDO)') || exit $$(( $$? == 3 ? 0 : 1 )); \
	    export SYSTEM; \
	fi; \
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed $(BESIDE_SUDO)

BESIDE_SUDO := -- differential:: in_place:: edit:: listing:: options:: import::

# Takes ten minutes; the ordinary tests compare a sample.
FILES ?= 5000
SEED  ?= 1
import-compare: deps build
	IMPORT_COMPARE='$(FILES) $(SEED)' PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed many_generated -- --ignored --nocapture

# Sudoers files in the style of real ones. Takes two minutes; the ordinary tests ask fewer questions.
import-corpus: deps build
	PROFILE=$(PROFILE) $(CARGO) test --quiet --locked --test installed more_questions_about -- --ignored --nocapture

# From PyPI, as the project publishes it, installed below the target directory.
typos: $(TARGET)/typos
	$(TARGET)/typos/bin/typos --format brief

$(TARGET)/typos:
	/usr/bin/python3 -m venv $@.new
	$@.new/bin/python3 -m pip install --quiet --disable-pip-version-check 'typos==1.52.*'
	mv $@.new $@

# Checks deny.toml except for advisories, whose database is at GitHub. tests/deny.rs checks a part of it without cargo-deny.
deny: $(TARGET)/tools/bin/cargo-deny
	$(TARGET)/tools/bin/cargo-deny --workspace check bans licenses sources

advisories: $(TARGET)/tools/bin/cargo-deny
	$(TARGET)/tools/bin/cargo-deny --workspace check advisories

# Compiled once, which takes minutes.
$(TARGET)/tools/bin/cargo-deny:
	$(CARGO) install --debug --locked --root $(TARGET)/tools cargo-deny@0.20.2

# Compiles everything with the Rust version that Cargo.toml declares.
msrv: build-deps
	packaging/msrv

test: deps
	CARGO='$(CARGO)' RUST_TEST_THREADS=$(TEST_THREADS) tests/all

check: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --quiet --locked -p jit-sudo -p jit-sudo-shrink -p pam_jit_sudo -- -D warnings
	$(MAKE) typos
	CARGO='$(CARGO)' RUST_TEST_THREADS=$(TEST_THREADS) tests/all
	$(MAKE) ansible
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --locked --workspace --no-deps
	$(MAKE) fuzz-check
	packaging/msrv --or-say

# The tests compare these parts; see ctl/tests/manual_pages.
man:
	UPDATE=1 $(CARGO) test --quiet --locked -p jitctl --test manual_pages

# Needs mandoc; compiles mdBook below the target directory where it is missing.
book:
	CARGO='$(CARGO)' packaging/book

deps:
	packaging/deps try

build-deps:
	packaging/deps build

clean:
	$(CARGO) clean

.PHONY: contained figures typos deny advisories msrv all help man book build install uninstall deb rpm package-test package-deps demo demo-shell bench crowd siege recording-cost differential past flips fuzz fuzz-check journals soak kills trials million test check deps build-deps clean ansible import-compare import-corpus
