" Highlighting of specs of hierarchical reasoning models. `tests/language/editors.rs` keeps the words equal to those of hrmc.
if exists("b:current_syntax")
  finish
endif

syntax keyword hrmKeyword model train let tokens puzzles block network state segment repeat gradient predict from halt
syntax keyword hrmKeyword infer base without prefix candidates supervise keep conflict norm
syntax keyword hrmKey abstain accumulate augment batch betas bias cell chains check clip count data dropout ema epochs
syntax keyword hrmKey eps errors eval_every eval_share expansion explore first givens heads hidden hints loss lr
syntax keyword hrmKey lr_factor max_segments min_path min_ratio mixing mlp most multiple_of noise on_divergence
syntax keyword hrmKey optimizer outputs patience positions precision remove rollouts rounds schedule seed segments
syntax keyword hrmKey settle size std steps target temperature test theta truncate values vocab warmup_steps weight
syntax keyword hrmKey weight_decay width
syntax keyword hrmWord adam_atan2 adamw attention bce bf16 bootstrap constant continue copies cosine equal f32 fewest
syntax keyword hrmWord fixed full gelu grid input last learned linear maze none normal one_step post_rms pre_layer
syntax keyword hrmWord pre_rms q_learning random residual rollback rope sign_sgd softmax solved stablemax stop sudoku
syntax keyword hrmWord swiglu symmetries
syntax keyword hrmBoolean true false
syntax keyword hrmVariable x q
syntax match hrmLabel "\<\h\w*\ze\s*:"
syntax match hrmNumber "\<\d[0-9_]*\(\.\d[0-9_]*\)\?\([eE][+-]\?\d[0-9_]*\)\?\>"
syntax match hrmOperator "<-\|[-+*/=]"
syntax region hrmString start=+"+ skip=+\\.+ end=+"+ oneline
syntax match hrmComment "#.*$"

highlight default link hrmKeyword Keyword
highlight default link hrmKey Identifier
highlight default link hrmWord Constant
highlight default link hrmBoolean Boolean
highlight default link hrmVariable Special
highlight default link hrmLabel Label
highlight default link hrmNumber Number
highlight default link hrmOperator Operator
highlight default link hrmString String
highlight default link hrmComment Comment

let b:current_syntax = "hrm"
