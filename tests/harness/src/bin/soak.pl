# soak.pl USER KILLS WORKERS SPAN_US SEED: starts jit-sudo as USER again and again and kills it at a random moment of its
# life, with and without its children, until that hit as often as wanted; prints how often it did.
use strict;
use warnings;
use Time::HiRes qw(usleep);

my ($user, $kills, $workers, $span, $seed) = @ARGV;
my (undef, undef, $uid, $gid) = getpwnam $user or die "no user $user";
my @pipes;
for my $worker (1 .. $workers) {
    pipe my $read, my $write or die "pipe: $!";
    if (!fork) {
        srand($seed + $worker);
        my $killed = 0;
        while ($killed < $kills / $workers) {
            my $pid = fork;
            if (!$pid) {
                $( = $gid; $) = "$gid $gid"; $< = $> = $uid;
                exec '/usr/bin/jit-sudo', '-n', '/usr/local/bin/ledger';
                exit 127;
            }
            usleep(int rand $span);
            # Before its supervisor is gone they can still be told apart from those of others.
            my @doomed = rand() < 0.3 ? split ' ', children($pid) : ();
            # One that has ended by itself is still there to be signalled until it is waited for, and counts for nothing.
            next if waitpid($pid, 1) == $pid;
            $killed += kill 'KILL', $pid;
            kill 'KILL', @doomed if @doomed;
            waitpid $pid, 0;
        }
        print $write "$killed\n";
        exit 0;
    }
    push @pipes, $read;
}
my $total = 0;
$total += readline $_ for @pipes;
1 while wait > 0;
print "$total\n";

sub children {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/task/$pid/children" or return '';
    return readline($file) // '';
}
