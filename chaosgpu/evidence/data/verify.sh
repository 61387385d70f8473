#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Check evidence bundles: sh verify.sh -f ALLOWED_SIGNERS -i IDENTITY [-c CHECKPOINT] [-t TIME] [-a] [-u] BUNDLE...
# -a: every run of the log must be among the bundles; -u: a run in no log will do; -t: for a key that expired, as 20261201.
# Ends with 0: verified; 4: authentic, and something is missing; 5: it does not hold.
set -uf; LC_ALL=C; export LC_ALL; unset CDPATH; kept='' all='' unlogged='' allowed='' who='' size=-1 heads='' time=''
while getopts f:i:c:t:au o; do case $o in f) allowed=$OPTARG;; i) who=$OPTARG;; c) kept=$OPTARG;; t) time=-Overify-time=$OPTARG;;
  a) all=1;; u) unlogged=1;; *) exit 2;; esac; done; shift $((OPTIND - 1))
[ -f "$allowed" ] && [ -n "$who" ] && [ $# -gt 0 ] || { sed -n 3,4p "$0" >&2; exit 2; }
tmp=$(mktemp -d) || exit 2; trap 'rm -rf "$tmp"' EXIT; : > "$tmp/runs"; : > "$tmp/said"; : > "$tmp/longest"
say() { echo "$1: $b: $2" | tee -a "$tmp/said"; }
bad() { say PROBLEM "$1"; }
tell() { while IFS= read -r s; do say "${s%%:*}" "${s#*: }"; done; }
sums() { # each whole line of $1 behind its digest, which a line that is shown without a secret brings itself
  rm -rf "$tmp/l"; mkdir "$tmp/l"; head -n "$(wc -l < "$1")" "$1" > "$tmp/whole"
  awk -v d="$tmp/l" '{f=sprintf("%s/%08d",d,NR); printf "%s",$0 > f; close(f)}' "$tmp/whole"
  find "$tmp/l" -type f | sort | xargs -r sha256sum | cut -c1-64 | paste -d ' ' - "$tmp/whole" | awk '{d=$1; r=substr($0,66)
    if (r ~ /^\{"withheld_sha256": "/) {split(r,p,"\""); d=p[4]; sub(/^[^,]*, "entry": /,"",r)} print d" "r}'; }
signed() { # message, signature, identity, namespace: the armor must have no byte that could as well be another one
  awk '{l[NR]=$0} END {for (i=2;i<NR-1;i++) if (length(l[i])!=70 || l[i] !~ /^[A-Za-z0-9+\/]*$/) exit 1; t=l[NR-1]
    if (length(t)>70 || t !~ /^[A-Za-z0-9+\/]+=?=?$/ || t ~ /[^AQgw]==$/ || t ~ /[^AEIMQUYcgkosw048=]=$/) exit 1
    exit !(NR>2 && l[1]=="-----BEGIN SSH SIGNATURE-----" && l[NR]=="-----END SSH SIGNATURE-----")}' "$2" &&
  [ "$(wc -c < "$2")" -eq "$(awk '{n+=length($0)+1} END {print n}' "$2")" ] &&
  ssh-keygen -Y verify ${time:+"$time"} -f "$allowed" -I "$3" -n "$4" -s "$2" < "$1" > /dev/null 2>&1; }
chain='function linked(n, t0) {split($3,q,/[ ,:]+/); n=q[2]==NR && $6==want && $10>=t; want=substr($1,1,64); t=$10; return n}
  BEGIN {want=sprintf("%064d",0)} function v(k) {return match($0,"\"" k "\": \"[^\"]*\"") ? \
  substr($0,RSTART+length(k)+5,RLENGTH-length(k)-6) : ""}'
for b in "$@"; do before=$(grep -c ^PROBLEM "$tmp/said")
  [ -f "$b/SHA256SUMS" ] && [ ! -L "$b/SHA256SUMS" ] || { bad "there is no SHA256SUMS"; continue; }
  [ -z "$(find "$b/" ! -type f ! -type d)" ] || bad "it holds a link or something else that is no file"
  awk '!/^[0-9a-f]+  [A-Za-z0-9_=@][A-Za-z0-9_=@+.,-]*(\/[A-Za-z0-9_=@][A-Za-z0-9_=@+.,-]*)*$/ || index($0," ")!=65 {exit 1}' \
    "$b/SHA256SUMS" && cut -c67- "$b/SHA256SUMS" | sort -c -u 2> /dev/null || bad "SHA256SUMS is not in its one form"
  (cd "$b" && find . -type f | cut -c3- | grep -vx -e SHA256SUMS -e SHA256SUMS.sig | sort) > "$tmp/there"
  cut -c67- "$b/SHA256SUMS" | cmp -s - "$tmp/there" || bad "SHA256SUMS names other files: one was put in or taken out"
  (cd "$b" && sha256sum -c SHA256SUMS > /dev/null 2>&1) || bad "a file was changed"
  if [ ! -f "$b/SHA256SUMS.sig" ]; then bad "it is UNSIGNED"
  elif ! signed "$b/SHA256SUMS" "$b/SHA256SUMS.sig" "$who" chaosgpu-evidence-v1; then bad "$who did not sign it"; fi
  [ "$(grep -c ^PROBLEM "$tmp/said")" -eq "$before" ] || continue
  sums "$b/log.jsonl" > "$tmp/log"; n=$(wc -l < "$tmp/log"); sums "$b/run/ledger.jsonl" > "$tmp/led"; ledger=$(wc -l < "$tmp/led")
  { echo "chaosgpu-evidence-v1 log"; echo "$n"; tail -n 1 "$tmp/log" | cut -c1-64 | grep . || printf '%064d\n' 0; } |
    cmp -s - "$b/checkpoint" && [ -z "$(tail -c 1 "$b/log.jsonl")" ] || bad "the checkpoint is not the log's head"
  run=$(awk -F'"' 'NR==1 {print $14}' "$tmp/led"); cp "$b/checkpoint" "$tmp/head.$run"; heads="$heads $tmp/head.$run"
  [ "$n" -le "$size" ] || { size=$n; cp "$tmp/log" "$tmp/longest"; }; echo "$run" >> "$tmp/runs"
  awk -F'"' -v run="$run" "$chain"'{k=$14; a=$22; p=$18" "$26} !linked() {print "PROBLEM: line "NR" of the log does not follow"}
    k=="planned" {plan[p]=1} k=="approved" && !plan[p] {print "PROBLEM: line "NR" approves what was not planned"}
    k=="started" {if (a in s || !plan[p]) print "PROBLEM: line "NR" starts twice or unplanned"; s[a]=$18; h[a]=$26}
    k=="finished"||k=="aborted" {if (s[a]!=$18 || a in e) print "PROBLEM: line "NR" ends what did not start or has ended"; e[a]=1
      if (run!="" && $26==run) {split($33,q,/[ ,:]+/); print "END: "k, $30 ? $30 : "-", q[2], $36 ? $36 : "-", h[a], $18}}
    k=="residue" && s[a]!=$18 {print "PROBLEM: line "NR" is of nothing that started"}
    END {for (a in s) if (!(a in e)) print "MISSING: attempt "a" at drill "s[a]" has no end in the log"}' "$tmp/log" > "$tmp/of"
  awk -F'"' -v run="$run" "$chain"'{k=$18; l=v("lease")" on "v("host"); if (!linked() || $14!=run || done)
     print "PROBLEM: line "NR" of the ledger does not follow"} k=="lease.reserved" {o[l]=1} k ~ /^lease.(clean|refused|stuck)$/ {delete o[l]}
    k=="run.finished" {done=1; print "VERDICT: "v("verdict")} END {for (l in o) print "MISSING: "l" has no end in the ledger"
     if (!done) print "MISSING: the ledger has no run.finished, it ends with line "NR", "k}' "$tmp/led" >> "$tmp/of"
  grep -e ^PROBLEM -e ^MISSING "$tmp/of" | tell; end=$(sed -n 's/^END: //p' "$tmp/of"); verdict=$(sed -n 's/^VERDICT: //p' "$tmp/of")
  [ -z "$(tail -c 1 "$b/run/ledger.jsonl" | tr '\0' x)" ] || say MISSING "the ledger's last line is torn"
  journal=$(awk -F'"' '/^  "chaosgpu": \{/ {i=1} i && $2=="verdict" {print $4 ? $4 : "none"; exit}' "$b/run/journal.json")
  [ -n "$journal" ] || say MISSING "there is no verdict in journal.json"
  [ -z "$verdict" ] || [ -z "$journal" ] || [ "$journal" = "$verdict" ] || bad "journal and ledger have two verdicts"
  if [ -z "$end" ]; then [ -n "$unlogged" ] || say MISSING "the site's log has no end of run $run"; else
    set -- $end "$@"; kind=$1 said=$2 lines=$3 digest=$4 plan=$5 drill=$6; shift 6
    at=$(sed -n "${lines}p" "$tmp/led" | cut -c1-64); [ "${at:--}" = "$digest" ] || bad "the ledger is not the one that the log names"
    [ "$kind" = aborted ] || [ "$lines $said" = "$ledger $verdict" ] || bad "the ledger has another end than the log says"
    if [ ! -f "$b/plan/plan.yaml" ]; then say MISSING "the plan of drill $drill is not there"
    elif [ "$(sha256sum < "$b/plan/plan.yaml" | cut -c1-64)" != "$plan" ]; then bad "the plan is not the one that was started"
    else for x in $(awk -F'"' -v p="$plan" '$14=="approved" && $26==p {print $30 ";" $34}' "$tmp/log"); do by=${x%;*}
      f="$b/plan/approvals/${x#*;}.sig"; s="$b/plan/statement.json"
      grep -q "\"plan_sha256\":\"$plan\"" "$s" && ! grep -qi "\"operator\":\"${by%%@*}[@\"]" "$s" &&
        [ "$(sha256sum < "$f" | cut -c1-64)" = "${x#*;}" ] && signed "$s" "$f" "$by" chaosgpu-approval-v1 ||
        bad "the approval by $by does not hold"; done; fi; fi
  echo "CHECKED: $b: run $run, verdict ${verdict:-none recorded}, log of $n lines"
done 2> /dev/null; b="all bundles"
for c in $heads ${kept:+"$kept"}; do at=$(sed -n 2p "$c"); have=$(sed -n "${at:-0}p" "$tmp/longest" 2> /dev/null | cut -c1-64)
  [ "$at" = 0 ] || [ "${have:-none}" = "$(sed -n 3p "$c")" ] || bad "the log was cut or written anew: it does not go on from line $at"
done
[ -z "$all" ] || awk -F'"' '($14=="finished"||$14=="aborted") && $26 {print $26}' "$tmp/longest" | while IFS= read -r r; do
  grep -qxF "$r" "$tmp/runs" || say MISSING "run $r is in the log and in none of these bundles"; done
if grep -q ^PROBLEM "$tmp/said"; then echo "IT DOES NOT HOLD"; exit 5; elif [ -s "$tmp/said" ]; then echo "INCOMPLETE"; exit 4; fi
echo "VERIFIED"
