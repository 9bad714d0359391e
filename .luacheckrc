std = "ngx_lua"
max_line_length = 100
max_comment_line_length = 120 -- one sentence may run on, as in Python
max_string_line_length = 120
files["tests/edge/**/*_spec.lua"].std = "+busted"
