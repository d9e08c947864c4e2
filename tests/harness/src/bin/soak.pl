# soak.pl USER KILLS WORKERS SPAN_US SEED: starts jit-sudo as USER repeatedly and kills it at a random moment, with or without its
# children, until that has hit KILLS times; prints the number of hits.
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
            # Its children can only be distinguished from those of others while its supervisor lives.
            my @doomed = rand() < 0.3 ? split ' ', children($pid) : ();
            # A process that has exited by itself can still be signalled until it is reaped; it does not count.
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
