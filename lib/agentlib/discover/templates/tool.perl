#!/usr/bin/env perl
# NAME - say what this tool does
#
# Reads one JSON object on standard input, {"text": TEXT}, and prints the answer.
use strict;
use warnings;

if ("@ARGV" eq '--agent-schema') {
    print <<'END';
{"name":"NAME","description":"Say what this tool does","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"the text to work on"}},"required":["text"],"additionalProperties":false},"annotations":{"readOnlyHint":true},"examples":[{"request":"Do it with: good morning","arguments":{"text":"good morning"}}]}
END
    exit;
}
sub fail { my ($status, $why) = @_; print STDERR "NAME: $why\n"; exit $status }

fail(2, "unrecognized arguments: @ARGV") if @ARGV;
require JSON::PP;
my $given = eval { JSON::PP->new->utf8->decode(do { local $/; <STDIN> }) };
fail(100, 'give a text: {"text":"good morning"}') unless ref $given eq 'HASH' and defined $given->{text};
binmode STDOUT, ':encoding(UTF-8)';
print "$given->{text}\n";
