# bash completion for tealctl                                              -*- shell-script -*-
# SPDX-License-Identifier: Apache-2.0
# Commands and options are asked of tealctl itself, services and backends of teald (if it answers), so that this file
# holds no list that could fall behind.

# Values of one key in the reply of `tealctl --json ...`.
_tealctl_values() {
  local key=$1
  shift
  "${tealctl[@]}" --json "$@" 2>/dev/null | grep -oE "\"$key\":\"[^\"]*\"" | cut -d'"' -f4 | sort -u
}

_tealctl() {
  local cur prev words cword i command='' nth=0
  local -a tealctl arguments=()
  # Backend ids and clients hold colons: they stay one word.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n : cur prev words cword
  else
    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
  fi
  tealctl=("${words[0]}")
  for ((i = 1; i < cword; i++)); do
    case ${words[i]} in
      --socket) tealctl+=(--socket "${words[i + 1]-}"); ((i++)) ;;
      --socket=*) tealctl+=("${words[i]}") ;;
      --to | --expect-generation | --flows | --weight | --state | --service | --pool | --backend | --limit | --interval | --count | \
        --steps | --hold | --bake | --drain-deadline | --at-deadline | --force | --timeout | --set)
        # A cutover's or rollback's --force takes no value.
        if [ "${words[i]}" != --force ] || [ "$command" = rollout ]; then ((i++)); fi ;;
      -*) ;;
      *) if [ -z "$command" ]; then command=${words[i]}; else arguments+=("${words[i]}"); fi ;;
    esac
  done
  nth=${#arguments[@]}

  local choices=''
  [ "$prev" = --force ] && [ "$command" = rollout ] && prev=--force-name
  case $prev in
    --force-name) choices='no_ready_backend untracked_flows rollout_under_way capacity needs_again' ;;
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --to | --pool) choices='blue green' ;;
    --flows | --at-deadline) choices='keep reset' ;;
    --steps) choices='1%,10%,50%,100%' ;;
    --set) choices=none ;;
    --state) [ "$command" = backend ] && choices='ready drain down' || choices='syn established' ;;
    --service) choices=$(_tealctl_values name services) ;;
    --backend) choices=$(_tealctl_values id services) ;;
    --expect-generation | --weight | --limit | --interval | --count | --hold | --bake | --drain-deadline | --timeout) return ;;
    *)
      if [[ $cur == -* ]]; then
        # shellcheck disable=SC2086 # no command: no word
        choices=$("${tealctl[0]}" $command --help 2>/dev/null | grep -oE '^ +--[a-z-]+' | tr -d ' ')
      elif [ -z "$command" ]; then
        choices=$("${tealctl[0]}" --help 2>/dev/null | sed -nE '/^Commands:/,/^$/ s/^  ([a-z]+) .*/\1/p')
      elif [ "$nth" -eq 0 ]; then
        case $command in
          rollout) choices='start pause resume promote abort status' ;;
          services | cutover | rollback | backend | which | drain | preview) choices=$(_tealctl_values name services) ;;
        esac
      elif [ "$nth" -eq 1 ] && [ "$command" = rollout ]; then
        choices=$({ _tealctl_values name services; _tealctl_values group services; } | sort -u)
      elif [ "$nth" -eq 1 ] && [ "$command" = backend ]; then
        choices=$(_tealctl_values id services "${arguments[0]}")
      fi ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
  if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}
complete -F _tealctl tealctl
