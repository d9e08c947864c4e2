# person.pl NAME GROUP…: creates an account and the groups that are missing, as groupadd, useradd and chpasswd do, under the same
# lock. Those wait for the disk twenty times for one account, and the tests create a thousand.
use strict;
use warnings;
use Fcntl qw(:DEFAULT :seek);

my ($name, @groups) = @ARGV;
open(my $lock, '+>>', '/etc/.pwd.lock') or die "/etc/.pwd.lock: $!\n";
my $whole = pack('s s x4 q q l x4', F_WRLCK, SEEK_SET, 0, 0, 0);
fcntl($lock, F_SETLKW, $whole) or die "/etc/.pwd.lock: $!\n";

my %lines = map { $_ => [lines($_)] } qw(passwd shadow group gshadow subuid subgid);
die "'$name' exists\n" if entry('passwd', $name) or entry('group', $name);
for my $group (@groups) {
    add_group($group) if !entry('group', $group);
    add_member($_, $group) for qw(group gshadow);
}
my $gid = add_group($name);
my $uid = 1 + highest('passwd', 1000, 60000);
push @{$lines{passwd}}, join(':', $name, 'x', $uid, $gid, '', "/home/$name", '/bin/bash');
my $password = crypt("$name-password", '$5$rounds=1000$private-root$');
push @{$lines{shadow}}, join(':', $name, $password, int(time / 86400), 0, 99999, 7, '', '', '');
add_subordinates($_) for qw(subuid subgid);
store($_) for sort keys %lines;

sub lines {
    my ($file) = @_;
    open(my $in, '<', "/etc/$file") or return;
    chomp(my @found = <$in>);
    return @found;
}

sub entry {
    my ($file, $wanted) = @_;
    return grep { index($_, "$wanted:") == 0 } @{$lines{$file}};
}

sub highest {
    my ($file, $least, $most) = @_;
    my ($highest) = sort { $b <=> $a } grep { $_ < $most } map { (split /:/)[2] } @{$lines{$file}};
    return $highest < $least - 1 ? $least - 1 : $highest;
}

sub add_group {
    my ($group) = @_;
    my $id = 1 + highest('group', 1000, 60000);
    push @{$lines{group}}, "$group:x:$id:";
    push @{$lines{gshadow}}, "$group:!::";
    return $id;
}

sub add_member {
    my ($file, $group) = @_;
    for (@{$lines{$file}}) {
        $_ .= (/:$/ ? '' : ',') . $name if index($_, "$group:") == 0;
    }
}

sub add_subordinates {
    my ($file) = @_;
    my $first = 100000;
    for (@{$lines{$file}}) {
        my (undef, $start, $count) = split /:/;
        $first = $start + $count if $start + $count > $first;
    }
    push @{$lines{$file}}, "$name:$first:65536";
}

sub store {
    my ($file) = @_;
    my (undef, undef, $mode, undef, $owner, $group) = stat("/etc/$file") or return;
    open(my $out, '>', "/etc/$file.new") or die "/etc/$file.new: $!\n";
    chmod($mode & 07777, $out) && chown($owner, $group, $out) or die "/etc/$file.new: $!\n";
    print $out map { "$_\n" } @{$lines{$file}};
    close($out) && rename("/etc/$file.new", "/etc/$file") or die "/etc/$file: $!\n";
}
