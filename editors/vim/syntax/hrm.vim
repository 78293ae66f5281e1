" Highlighting of specs of hierarchical reasoning models. `tests/language/editors.rs` keeps the words equal to those of hrmc.
if exists("b:current_syntax")
  finish
endif

syntax keyword hrmKeyword model train let tokens puzzles block network state segment repeat gradient predict
syntax keyword hrmKeyword from halt infer base without
syntax keyword hrmKey augment batch betas bias count data ema epochs eps eval_every eval_share expansion explore givens
syntax keyword hrmKey heads hidden loss lr lr_factor max_segments min_path min_ratio mixing mlp most multiple_of
syntax keyword hrmKey norm on_divergence optimizer outputs patience positions precision schedule seed segments size
syntax keyword hrmKey std steps target test theta
syntax keyword hrmKey noise rollouts settle check truncate vocab warmup_steps weight_decay width
syntax keyword hrmWord adam_atan2 adamw attention bce bf16 bootstrap constant continue copies cosine equal f32 fixed full
syntax keyword hrmWord last learned linear maze none normal one_step post_rms q_learning rope sign_sgd softmax
syntax keyword hrmWord residual rollback stablemax stop sudoku swiglu symmetries
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
