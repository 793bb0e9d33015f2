/** What the shells run: small scripts that ask `berth completion words` what fits. They work sourced, and as files of a package. */

/** Names come from the controller, so nothing of them is expanded: compgen -W would run what is in `$(…)`. */
const BASH = `_berth() {
  local line="\${COMP_LINE:0:COMP_POINT}" typed=() cur words word
  line="\${line//[\\"\\'\\\\]/}"
  IFS=$' \\t' read -ra typed <<< "$line"
  [[ "$line" == *[[:space:]] ]] && typed+=("")
  cur="\${typed[-1]}"
  words=$(berth completion words "\${typed[@]:1}" 2>/dev/null) || return
  if [ "$words" = ":files" ]; then compopt -o default; COMPREPLY=(); return; fi
  COMPREPLY=()
  while IFS= read -r word; do
    [[ -n "$word" && "$word" == "$cur"* ]] && COMPREPLY+=("$word")
  done <<< "$words"
  case "$cur" in *[:=]*) COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*[:=]}"}"}") ;; esac
}
complete -F _berth berth
`;

const ZSH = `#compdef berth
_berth() {
  local -a found typed
  typed=("\${(@Q)words[2,CURRENT]}")
  found=("\${(@f)$(berth completion words "\${(@)typed}" 2>/dev/null)}")
  if [[ "$found" != ":files" ]]; then compadd -- $found; return; fi
  [[ "$PREFIX" == --*=* ]] && compset -P 1 '*='
  _files
}
if [[ "\${funcstack[1]}" == _berth ]]; then _berth; else compdef _berth berth; fi
`;

const FISH = `function __berth_complete
  set -l typed (commandline -opc)
  set -l current (commandline -ct)
  set -l found (berth completion words $typed[2..-1] "$current" 2>/dev/null)
  if test "$found" = ":files"
    set -l flag (string match -r '^--[^=]+=' -- "$current")
    for path in (__fish_complete_path (string replace -r '^--[^=]+=' '' -- "$current"))
      printf '%s%s\\n' "$flag" $path
    end
  else if set -q found[1]
    printf '%s\\n' $found
  end
end
complete -c berth -f -a '(__berth_complete)'
`;

export const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH };
